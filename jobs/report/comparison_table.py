"""The comparisons with a baseline as a table: an experiment a row, a metric a column, a ratio with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from joulegrid.jobs.report.columns import FIRST_TOKEN, Cell, Column, ReportTable, headline_title
from joulegrid.jobs.report.pareto import THROUGHPUT
from joulegrid.jobs.report.quantity import counted, number, plain, title_of
from joulegrid.jobs.report.summary_row import SCOPE_WORDS

if TYPE_CHECKING:
    from joulegrid.jobs.report.comparison import Comparison, Comparisons
    from joulegrid.jobs.study_result import StudyResult

NO_BASELINE = (
    "No baseline was declared, so nothing is compared: name an experiment under execution.report.baseline, or with "
    "joulegrid report RUN --baseline LABEL."
)
_FOLD = 100.0
_VERDICTS = {"lower": "lower", "higher": "higher", "cannot_tell_apart": "cannot tell apart"}


def comparison_table(found: Comparisons) -> ReportTable | None:
    """Return the table, a row for each experiment and stratum; `None` where nothing was compared."""
    if not found.comparisons:
        return None
    by_place: dict[tuple[int, str | None], dict[str, list[Comparison]]] = {}
    for one in found.comparisons:
        by_place.setdefault((one.index, one.stratum), {}).setdefault(one.metric, []).append(one)
    names = [_name(next(iter(metrics.values()))[0]) for metrics in by_place.values()]
    numbers = [
        Column(ratio_title(metric), [_cell(of.get(metric, [])) for of in by_place.values()], note=_kind(found, metric))
        for metric in found.metrics
    ]
    named = Column("experiment", names, is_number=False)
    return ReportTable([named], numbers, notes_of(found), [f"Baseline: {_baseline(found)}"])


def comparison_reason(study: StudyResult) -> str | None:
    """Say why a run has no comparisons; `None` where it has some."""
    found = study.comparisons
    if found is None:
        return NO_BASELINE if len(study.summary) > 1 else None
    if found.reason is None:
        return None
    return f"Nothing is compared with {plain(found.baseline)!r}: {plain(found.reason)}."


def notes_of(found: Comparisons) -> list[str]:
    """Say what was compared, how, over which family, and for which devices it holds."""
    pairs = {one.n_blocks for one in found.comparisons if one.n_blocks}
    blocks = f"{min(pairs)}" if len(pairs) == 1 else f"{min(pairs, default=0)} to {max(pairs, default=0)}"
    devices = max((one.n_devices for one in found.comparisons), default=0)
    method = (
        f"Ratio to the baseline: geometric mean over {blocks} blocks (same device, same cycle), with its interval "
        "at the level of Holm's correction. In one of 20 such reports at most is any difference a false one."
    )
    notes = [method, f"Family of {found.family}."]
    if found.these_devices_only:
        on_gpus = any(one.scope == "gpu_board" for one in found.comparisons)
        which = "these cards" if on_gpus else "this machine" if devices == 1 else "these machines"
        notes.append(f"{counted(devices, 'device')}, fewer than three: this holds for {which} only.")
    reasons = dict.fromkeys(one.reason for one in found.comparisons if one.reason)
    return [*notes, *(f"Not compared: {plain(reason)}." for reason in reasons)]


def ratio_title(metric: str) -> str:
    """Return a metric's title where its unit has cancelled out."""
    if metric.startswith("energy_per."):
        return f"J/{metric.removeprefix('energy_per.').replace('_', ' ')}, ratio"
    if metric == "seconds":
        return "seconds of a repetition, ratio"
    known = THROUGHPUT.search(metric) or FIRST_TOKEN.search(metric)
    title = headline_title(metric) if known else title_of(metric)
    return f"{'energy' if metric == 'energy_j' else title.removesuffix(', s')}, ratio"


def _baseline(found: Comparisons) -> str:
    return plain(found.baseline_label or found.baseline_key or found.baseline)


def _name(one: Comparison) -> Cell:
    label = plain(one.label).strip() or f"experiment {one.index}"
    return Cell(f"{label} ({one.stratum})" if one.stratum else label)


def _cell(found: list[Comparison]) -> Cell:
    """One number; where an experiment has energies of several kinds, the one that could be tested."""
    one = next((one for one in found if one.verdict), next(iter(found), None))
    if one is None or one.ratio is None:
        return Cell("–")
    if one.verdict is None or one.adjusted_low is None or one.adjusted_high is None:
        return Cell(number(one.ratio, 3), "one block, no interval")
    return Cell(
        f"{number(one.ratio, 3)} {_ends(one.ratio, one.adjusted_low, one.adjusted_high)}", _VERDICTS[one.verdict]
    )


def _kind(found: Comparisons, metric: str) -> str:
    """How the energies of a column were obtained, where all alike."""
    kinds = {
        f"{one.provenance}, {SCOPE_WORDS.get(one.scope, one.scope)}"
        for one in found.comparisons
        if one.metric == metric and one.provenance and one.scope
    }
    return kinds.pop() if len(kinds) == 1 else ""


def _ends(ratio: float, low: float, high: float) -> str:
    """An end a hundredfold away from ratio and 1 says nothing that digits would make clearer."""
    shown_low = "<0.01" if low < min(ratio, 1.0) / _FOLD else number(low, 3)
    return f"[{shown_low}–{'>100' if high > max(ratio, 1.0) * _FOLD else number(high, 3)}]"
