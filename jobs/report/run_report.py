"""The report of runs: what each experiment cost, as a table in the terminal or as pages beside the results.

A finished run is read from its `study_result.json` alone; any other from what is committed so far. Ray, torch and
pyarrow are not loaded for a table; matplotlib only for figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from joulegrid.cluster.storage import open_store
from joulegrid.errors import UsageError
from joulegrid.jobs.study_result import StudyResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from joulegrid.cluster.storage import Store

_SHOWN_RUNS = 5
_PATHS_SEARCHED = 10_000


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run as it is told of: its result, its store, and a short name beside others."""

    name: str
    study: StudyResult
    store: Store
    is_finished: bool
    """Whether `study` is the run's own closing record; else it was put together from what is committed so far."""


def read_run(url: str | Path, baseline: str | None = None) -> RunReport:
    """Read one run; `UsageError` where there is none, or where the baseline to compare with is none of its experiments.

    Another baseline than the one in the closing record has every result read again.
    """
    store = open_store(url)
    from joulegrid.jobs.report.manifest_file import read_manifest

    closing = _closing_record(store)
    if closing is not None and _is_current(closing, read_manifest(store)) and _compares_with(closing, baseline):
        study = closing.model_copy(update={"run": store.url})
        return RunReport(_name(store.url), study, store, is_finished=True)
    if closing is None and not store.exists("manifest.json") and next(store.list("commit/"), None) is None:
        raise UsageError(_no_run(store))
    from joulegrid.jobs.report.assembly import assemble  # reads every result, and loads what that needs

    return RunReport(_name(store.url), assemble(store, baseline=baseline), store, is_finished=False)


def read_runs(urls: list[str], baseline: str | None = None) -> list[RunReport]:
    """Read several runs, each once however often it is given, and give them names that tell them apart."""
    places: dict[str, str] = {}
    for url in urls:
        places.setdefault(_resolved(url), url)
    reports = [read_run(url, baseline) for url in places.values()]
    return [replace(report, name=name) for report, name in zip(reports, short_names(reports), strict=True)]


def report(
    runs: list[str], *, write: bool = False, output: str | None = None, baseline: str | None = None
) -> list[str]:
    """Print the headline table of the runs; with `write` or `output` make pages and figures too.

    `baseline` is the label or key of the experiment that the others are compared with; without it the study's own.
    Pages go into each run's folder under `report/`, or with `output` to that folder or `s3://` prefix, below the
    run's name where there are several. Returns where the pages are.
    """
    if not runs:
        raise UsageError("report: no run was given; give the folder or the s3:// prefix of one run or more")
    from joulegrid.jobs.report.table import print_reports

    reports = read_runs(runs, baseline)
    print_reports(reports)
    if not write and output is None:
        return []
    return [write_report(one, _place(one, output, several=len(reports) > 1)) for one in reports]


def write_report(run: RunReport | Store | str, output: Store | None = None) -> str:
    """Write `report.md`, `report.html` and `figures/` into the run's `report/`, or into the store `output`.

    Returns the place of the page. Without matplotlib the pages have no figures and say how to get them.
    """
    if not isinstance(run, RunReport):
        run = read_run(run if isinstance(run, str) else run.url)
    place = run.store.child("report") if output is None else output
    from joulegrid.jobs.report.details import gather
    from joulegrid.jobs.report.markdown import markdown
    from joulegrid.jobs.report.page import page
    from joulegrid.jobs.report.plots import draw

    figures = draw(run)
    details = gather(run)
    for figure in figures.drawn:
        place.put(f"figures/{figure.name}.svg", figure.svg.encode())
        place.put(f"figures/{figure.name}.png", figure.png)
    place.put("report.md", markdown(run, details, figures).encode())
    place.put("report.html", page(run, details, figures).encode())
    return f"{place.url.rstrip('/')}/report.html"


def short_names(reports: list[RunReport]) -> list[str]:
    """Return a short name for each run: the study's where these differ, else what differs in the folders' names."""
    studies = [report.study.study_name for report in reports]
    if len(set(studies)) == len(studies):
        return studies
    folders = [report.name for report in reports]
    if len(set(folders)) < len(folders):  # the same name in two places
        folders = [report.store.url.rstrip("/") for report in reports]
    same = len(list(takewhile(lambda letters: len(set(letters)) == 1, zip(*folders, strict=False))))
    start = max(folders[0].rfind(sign, 0, same) for sign in "-_/.T") + 1  # a name begins behind a sign
    shortened = [folder[start:] for folder in folders]
    return shortened if len(set(shortened)) == len(shortened) and all(shortened) else folders


def _resolved(url: str) -> str:
    return url.rstrip("/") if url.startswith("s3://") else str(Path(url).expanduser().resolve())


def _place(one: RunReport, output: str | None, *, several: bool) -> Store | None:
    if output is None:
        return None
    place = open_store(output)
    return place.child(_name(one.store.url)) if several else place


def _name(url: str) -> str:
    return url.rstrip("/").rpartition("/")[2]


def _closing_record(store: Store) -> StudyResult | None:
    try:
        return StudyResult.model_validate_json(store.get("study_result.json"))
    except (FileNotFoundError, ValidationError):  # another version's record: the results themselves still count
        return None


def _compares_with(closing: StudyResult, baseline: str | None) -> bool:
    found = closing.comparisons
    return baseline is None or (found is not None and baseline in (found.baseline_key, found.baseline_label))


def _is_current(closing: StudyResult, manifest: Mapping[str, Any]) -> bool:
    """Whether nothing happened after the closing record: a resumed run leaves an old one behind."""
    counts = manifest.get("counts", {})
    same = all(counts.get(name, count) == count for name, count in closing.counts if name in ("done", "failed"))
    return same and manifest.get("state", closing.state) == closing.state


def _no_run(store: Store) -> str:
    paths = islice(store.list(""), _PATHS_SEARCHED)
    runs = sorted(
        {path.partition("/")[0] for path in paths if path.count("/") == 1 and path.endswith("/manifest.json")}
    )
    if runs:
        shown = ", ".join(runs[-_SHOWN_RUNS:])
        return f"{store.url} is no run but holds some; give one of them: {shown}"
    return f"no run at {store.url}; give the folder that holds manifest.json, or the s3:// prefix of it"
