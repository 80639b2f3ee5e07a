"""A study of kernels in one table: how many passed, fast_p, the geometric mean, the score against the roof."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from joulegrid.jobs.report.columns import Cell, Column, ReportTable
from joulegrid.jobs.report.quantity import number
from joulegrid.kernels.scores import THRESHOLDS, Judged, best_of_each_case, scores

if TYPE_CHECKING:
    from joulegrid.jobs.report.summary_row import SummaryRow
    from joulegrid.kernels.scores import Interval, Scores

TITLE = "Kernels against the strongest baseline"
NOTES = (
    (
        "A kernel is one candidate for one case; it counts once, its shapes by their weight in the case. Speed-up: the "
        "lower bound of the strongest baseline's time over the kernel's. fast_p: share of the work on which a kernel "
        "is right and more than p times as fast; a kernel that is wrong counts as slow."
    ),
    (
        "Geometric mean: of what passed. Score against the roof: 1 / (1 + (t - t_roof) / (t_baseline - t_roof)), 0.5 "
        "as fast as the baseline, 1 at the roof, 0 for a kernel that is wrong. Intervals: 95 %, 2,000 resamples of "
        "whole cases."
    ),
)
_FLATTERS = "Best of each case: chosen by the very times that are shown, so it flatters; measure it again to claim it."
_UNTIMED = "Passed without times, and in no figure: {}."


def kernel_table(rows: Sequence[SummaryRow]) -> ReportTable | None:
    """Return the table of a study's kernels; `None` where the study is of something else."""
    groups = list(_groups(rows))
    if not groups:
        return None
    told = [(name, scores(judged)) for name, judged in groups]
    return scores_table(told)


def scores_table(told: Sequence[tuple[str, Scores]]) -> ReportTable:
    """Return figures of named sets of kernels as a table."""
    found = [one for _, one in told]
    numbers = [
        Column("kernels", [Cell(str(one.n_kernels)) for one in found]),
        Column("cases", [Cell(str(one.n_cases)) for one in found]),
        Column("passed", [Cell(str(one.n_passed)) for one in found]),
        *(Column(f"fast_{p:g}", [_share(one, p) for one in found]) for p in THRESHOLDS),
        Column("geometric mean", [_interval(one.geometric_mean, "×") for one in found]),
        Column("score against the roof", [_interval(one.roof_score) for one in found]),
    ]
    notes = [*NOTES, *([_FLATTERS] if any(name.startswith("best") for name, _ in told) else [])]
    untimed = max(one.n_untimed for one in found)
    notes += [_UNTIMED.format(untimed)] if untimed else []
    names = Column("set", [Cell(name) for name, _ in told], is_number=False)
    return ReportTable([names], numbers, notes)


def with_best(judged: list[Judged], name: str = "all") -> list[tuple[str, list[Judged]]]:
    """Return the kernels, and where some case has several the best of each case beside them."""
    best = best_of_each_case(judged)
    return [(name, judged), *([(f"best of each case{_of(name)}", best)] if len(best) < len(judged) else [])]


def judged_of(rows: Sequence[SummaryRow]) -> list[Judged]:
    """Return what a study's rows say of kernels; rows of one experiment that differ in energy alone are one."""
    by_key: dict[str, list[SummaryRow]] = {}
    for row in rows:
        if row.n_done and "verdict" in row.texts and "shape_weight" in row.metrics:
            by_key.setdefault(row.key, []).append(row)
    return [_judged(found) for found in by_key.values()]


def _judged(rows: Sequence[SummaryRow]) -> Judged:
    first = rows[0]
    return Judged(
        case=_text(first, "case"),
        candidate=_text(first, "candidate"),
        shape_weight=first.metrics["shape_weight"].mean,
        passed=all(row.texts["verdict"] == ["passed"] for row in rows),
        speedup=_mean(rows, "speedup"),
        roof_score=_mean(rows, "roof_score"),
    )


def _groups(rows: Sequence[SummaryRow]) -> Iterator[tuple[str, list[Judged]]]:
    """All kernels of each environment; numbers of unlike ones are never put together."""
    for stratum in dict.fromkeys(row.stratum for row in rows):
        judged = judged_of([row for row in rows if row.stratum == stratum])
        if judged:
            yield from with_best(judged, "all" if stratum is None else f"all ({stratum})")


def _text(row: SummaryRow, name: str) -> str:
    return " | ".join(row.texts.get(name, [])) or row.label


def _mean(rows: Sequence[SummaryRow], name: str) -> float | None:
    """Mean over the cycles of all rows; none where a cycle did not pass."""
    known = [row.metrics[name] for row in rows if name in row.metrics]
    whole = sum(one.n for one in known)
    if whole < sum(row.n_done for row in rows):
        return None
    return sum(one.n * one.mean for one in known) / whole


def _share(one: Scores, p: float) -> Cell:
    return Cell(f"{one.fast[p]:.2f}" if p in one.fast else "–")


def _interval(found: Interval | None, unit: str = "") -> Cell:
    if found is None:
        return Cell("–")
    ends = "one case" if found.low is None else f"[{number(found.low, 3)}–{number(found.high, 3)}]"
    return Cell(f"{number(found.value, 3)}{unit}", ends)


def _of(name: str) -> str:
    return name.removeprefix("all")
