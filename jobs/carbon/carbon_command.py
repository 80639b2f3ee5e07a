"""`joulegrid carbon`: grams and money of a finished run, derived again from its store. No Ray, no sensor."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.carbon.footprint import Accounting
from joulegrid.cluster.storage import open_store
from joulegrid.errors import UsageError
from joulegrid.jobs.carbon.pricing import accounting_of

if TYPE_CHECKING:
    from joulegrid.cluster.storage import Store
    from joulegrid.jobs.study_result import StudyResult

_COLUMNS = ("facility_energy_j", "average_g", "facility_average_g", "marginal_g", "facility_marginal_g")
_MONEY = ("energy_cost", "gpu_cost")


@dataclass(frozen=True, slots=True)
class CarbonFlags:
    """How the runs are to be priced, and what is done with it."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `execution.carbon`, over those of the run's own study; `None` is not given."""
    offline: bool = False
    write: bool = False
    as_json: bool = False


def carbon_command(places: Sequence[str], flags: CarbonFlags) -> int:
    """Print grams and money of runs; with `write` keep them in each run's record and report.

    Raises:
        UsageError: where there is no run, nothing is known of the place, or a zone or credential is missing.
    """
    from joulegrid.jobs.report.assembly import assemble

    told = []
    for store in [_run(place) for place in places]:
        accounting = _accounting(store, flags)
        study = assemble(store, accounting, write_summary=flags.write)
        if flags.write:
            _write(store, study)
        told.append(study)
        if not flags.as_json:
            _print(study)
    if flags.as_json:
        facts = [carbon_json(study) for study in told]
        sys.stdout.write(json.dumps(facts[0] if len(facts) == 1 else facts, indent=2, ensure_ascii=False) + "\n")
    return 0


def carbon_json(study: StudyResult) -> dict[str, Any]:
    """Return a run's grams and money by experiment, and in all."""
    names = ("index", "key", "label", "stratum", "n_done", "provenance", "source", "scope", "unknown", "energy_j")
    rows = [row.model_dump(mode="json", include={*names, "footprint"}) for row in study.summary]
    account = study.carbon.model_dump(mode="json") if study.carbon else None
    return {"run": study.run, "study_name": study.study_name, "state": study.state, "carbon": account, "rows": rows}


def _run(place: str) -> Store:
    from joulegrid.jobs.status.status_view import runs_at

    found = runs_at(place)
    if len(found) > 1:
        names = ", ".join(store.url.rstrip("/").rpartition("/")[2] for store in found[-5:])
        raise UsageError(f"{open_store(place).url} is no run but holds some; give one of them: {names}")
    return found[0]


def _accounting(store: Store, flags: CarbonFlags) -> Accounting:
    changes = {name: value for name, value in flags.changes.items() if value is not None}
    accounting = accounting_of(store, changes, offline=flags.offline)
    config, complaint = accounting.config, accounting.provider.complaint()
    is_priced = config.price_per_kwh is not None or config.price_per_gpu_hour is not None
    if complaint is not None and not (accounting.provider.name == "none" and is_priced):
        hint = "; give --zone DE or --intensity 400" if accounting.provider.name == "none" else ""
        raise UsageError(f"{complaint}{hint}")
    return accounting


def _write(store: Store, study: StudyResult) -> None:
    """Replace what is derived: `study_result.json` and the pages; `summary.parquet` was written with it."""
    from joulegrid.jobs.report.run_report import RunReport, write_report

    if study.state == "running":
        raise UsageError(f"{store.url} is not finished; --write keeps what is derived from a finished run")
    store.put("study_result.json", study.model_dump_json(indent=1).encode())
    name = store.url.rstrip("/").rpartition("/")[2]
    sys.stderr.write(f"written: {write_report(RunReport(name, study, store, is_finished=True))}\n")


def _print(study: StudyResult) -> None:
    from rich.text import Text

    from joulegrid.jobs.report.columns import Cell, Column, ReportTable, energy_column, footprint_columns, row_name
    from joulegrid.jobs.report.footprint_view import account_lines, currency_of, shown_names
    from joulegrid.jobs.report.table import laid_out, page_console

    console, rows = page_console(), study.summary
    currency = currency_of([study])
    names = Column("experiment", [Cell(row_name(row)) for row in rows], is_number=False)
    numbers = [Column("n", [Cell(str(row.n_done)) for row in rows]), energy_column(rows)]
    numbers += footprint_columns(rows, shown_names(rows, (*_COLUMNS, *_MONEY)), currency)
    console.print(Text(f"{study.study_name} · {study.run}"))
    if not rows:
        console.print(Text("No experiment has a result yet, so there is nothing to price."))
        return
    for part in laid_out(ReportTable([names], numbers), console.width):
        console.print()
        console.print(part)
    console.print()
    for line in account_lines(study.carbon):
        console.print(Text(line))
    console.print(Text("Rows are means of the headline window; the totals are sums over all windows."), style="dim")
