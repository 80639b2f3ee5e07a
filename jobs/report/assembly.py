"""A `StudyResult` out of a run's folder, in one pass over its results.

What is done is told by the commit markers; the manifest tells what failed and what is left. Memory does not grow with
the number of results (measured: `benchmarks/report_memory.py`).
"""

from __future__ import annotations

import tempfile
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from joulegrid.errors import UsageError
from joulegrid.jobs.carbon.carbon_account import budget_told
from joulegrid.jobs.carbon.pricing import accounting_of
from joulegrid.jobs.report.comparison import Comparisons
from joulegrid.jobs.report.failed_tasks import FailedTasks
from joulegrid.jobs.report.footprint import Footprints
from joulegrid.jobs.report.gathering import Gathering
from joulegrid.jobs.report.manifest_file import counts, read_manifest, sound
from joulegrid.jobs.report.observations import Observations
from joulegrid.jobs.report.quantity import counted
from joulegrid.jobs.report.rows import SummaryRows
from joulegrid.jobs.report.run_results import RunResults, read_json
from joulegrid.jobs.report.summary_file import SummaryFile
from joulegrid.jobs.search.search_result import search_notes, search_result
from joulegrid.jobs.study_result import SUMMARY_ROWS, Counts, SkippedPoints, State, StudyResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from joulegrid.cluster.carbon.footprint import Accounting
    from joulegrid.cluster.storage import Store


def assemble(
    store: Store, accounting: Accounting | None = None, *, baseline: str | None = None, write_summary: bool = False
) -> StudyResult:
    """Return the study's result from what is committed in the run's folder now, finished or not.

    Grams and money come by `accounting`; without it as the run's own study says, from what is known without a network.
    Experiments are compared with `baseline`, a label or a key, or without it with the one that the study declares;
    `UsageError` where the first is none of them.
    With `write_summary` every row goes into the run's `summary.parquet`; else nothing is written.
    """
    manifest, plan = read_manifest(store), sound(read_json(store, "plan.json"))
    with SummaryRows() as rows:
        declared = declared_baseline(store) if baseline is None else None
        observations = Observations() if baseline is not None or declared else None
        footprints = Footprints(accounting or accounting_of(store, offline=True), store)
        gathering = Gathering(rows, FailedTasks(manifest), footprints, observations)
        gathering.read(RunResults(store))
        result = _study_result(store, manifest, plan, gathering)
        if observations is not None:
            compared = _compared(observations, baseline, declared or "", gathering.strata.told()[1])
            result = result.model_copy(update={"comparisons": compared})
        if write_summary:
            _, letters = gathering.strata.told()
            file = SummaryFile(result.study_name, result.study_design_hash, rows.columns)
            with tempfile.TemporaryDirectory(prefix="joulegrid-summary-") as folder:
                local = Path(folder) / "summary.parquet"
                file.write(rows.rows(letters), local)
                store.put_file("summary.parquet", local)
    return result


def _study_result(store: Store, manifest: Mapping[str, Any], plan: Mapping[str, Any], seen: Gathering) -> StudyResult:
    tasks: list[dict[str, Any]] = manifest["tasks"]
    strata, letters = seen.strata.told()
    found = search_result(plan, seen.rows.rows(letters))
    return StudyResult(
        study_name=_either("study_name", manifest, plan) or store.url.rstrip("/").rpartition("/")[2],
        run=store.url,
        study_design_hash=_either("study_design_hash", manifest, plan),
        state=_state(manifest.get("state")),
        counts=_counts(manifest, tasks, seen),
        n_experiments=_either("n_experiments", manifest, plan) or _distinct(tasks, seen.rows.n_experiments),
        n_cycles=_either("n_cycles", manifest, plan) or max([seen.last_cycle, *_cycles(tasks)]) + 1,
        cycle_order=_either("cycle_order", manifest, plan),
        started_at=manifest.get("started_at"),
        ended_at=manifest.get("ended_at"),
        duration_s=_duration_s(manifest),
        energy=seen.energy(),
        skipped=[point for entry in _either("skipped", plan, manifest) or [] for point in _skipped(entry)],
        n_duplicates=_either("n_duplicates", plan, manifest) or 0,
        summary=list(islice(seen.rows.rows(letters), SUMMARY_ROWS)),
        n_summary_rows=seen.rows.n_rows,
        strata=strata,
        failures=seen.failed.first(),
        failures_by_class=seen.failed.by_class,
        unfenced=manifest["unfenced"],
        hardware=list(seen.hardware),
        search=found,
        budget=budget_told(manifest),
        carbon=seen.footprints.account() if seen.footprints else None,
        kernels=seen.kernels.figures(letters),
        notes=[*manifest["notes"], *_own_notes(seen), *search_notes(found)],
    )


def declared_baseline(store: Store) -> str | None:
    """Return the baseline that a run's study declares; a file that was changed by hand shall cost no more than that."""
    import yaml

    try:
        execution = (yaml.safe_load(store.get("resolved.yaml")) or {}).get("execution") or {}
        told = (execution.get("report") or {}).get("baseline")
    except (FileNotFoundError, yaml.YAMLError, AttributeError):
        return None
    return told if isinstance(told, str) else None


def _compared(seen: Observations, baseline: str | None, declared: str, letters: Mapping[int, str]) -> Comparisons:
    """A baseline that was asked for and is none is the asker's error; one that the study declares is a note."""
    if baseline is not None:
        return seen.compared(baseline, letters)
    try:
        return seen.compared(declared, letters)
    except UsageError as error:
        return Comparisons(baseline=declared, reason=str(error).removeprefix("baseline: "))


def _own_notes(seen: Gathering) -> Iterator[str]:
    if seen.n_damaged:
        shown = "; ".join(f"{one.task}: {one.reason}" for one in seen.damaged)
        more = f"; and {seen.n_damaged - len(seen.damaged)} more" if seen.n_damaged > len(seen.damaged) else ""
        yield f"{counted(seen.n_damaged, 'committed result')} damaged and left out of every number: {shown}{more}"
    if seen.n_disturbed:
        shared = f"{counted(seen.n_disturbed, 'task')} shared the cores with other work, which took up to"
        effect = "of them in the headline window: times and CPU joules are less certain than their spread says"
        yield f"{shared} {seen.worst_share:.0%} {effect}"
    unlisted = sum(seen.failed.by_class.values()) - seen.failed.n_listed + seen.failed.n_committed
    if unlisted > 0:
        yield f"{counted(unlisted, 'failed task')} more than the manifest lists: no row counts them as its own"


def _either(name: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Any:
    value = first.get(name)
    return second.get(name) if value is None else value


def _state(given: object) -> State:
    for state in get_args(State):
        if given == state:
            return state  # type: ignore[no-any-return]  # get_args is untyped
    return "interrupted"


def _counts(manifest: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], seen: Gathering) -> Counts:
    """Count; a task that was committed after it had been given up is done and not failed as well."""
    given = manifest.get("counts", {})

    def told(status: str) -> int:
        return int(given.get(status, sum(task.get("status") == status for task in tasks)))

    done, damaged = seen.n_done, seen.n_damaged
    failed, skipped = max(0, told("failed") - seen.failed.n_committed), told("skipped")
    n_tasks = int(_either("n_tasks", given, manifest) or len(tasks) or done + failed + skipped + damaged)
    failed = min(failed, max(0, n_tasks - done - skipped - damaged))
    pending = max(0, n_tasks - done - failed - skipped - damaged)
    return Counts(n_tasks=n_tasks, done=done, failed=failed, skipped=skipped, pending=pending, damaged=damaged)


def _skipped(entry: Mapping[str, Any]) -> list[SkippedPoints]:
    if "reason" not in entry:
        return []
    count = counts(entry, ("count",)).get("count", 1)
    return [SkippedPoints(reason=str(entry["reason"]), count=count, example=str(entry.get("example", "")))]


def _distinct(tasks: Sequence[Mapping[str, Any]], otherwise: int) -> int:
    return len({task.get("key") for task in tasks}) or otherwise


def _cycles(tasks: Sequence[Mapping[str, Any]]) -> list[int]:
    return [int(task.get("cycle", 0)) for task in tasks]


def _duration_s(manifest: Mapping[str, Any]) -> float | None:
    if "duration_s" in manifest:
        return float(manifest["duration_s"])
    try:
        started, ended = (datetime.fromisoformat(manifest[name]) for name in ("started_at", "ended_at"))
        return (ended - started).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None
