"""A study of kernels in one table: how many passed, fast_p, the geometric mean, the score against the roof."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from joulegrid.jobs.report.columns import Cell, Column, ReportTable
from joulegrid.jobs.report.kernel_figures import ALL, BEST
from joulegrid.jobs.report.quantity import counted, number
from joulegrid.kernels.scores import THRESHOLDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joulegrid.jobs.report.kernel_figures import Figure, KernelFigures
    from joulegrid.jobs.study_result import StudyResult

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
_FAILED = "Ended without a verdict, and in no figure: {}."


def kernel_table(study: StudyResult) -> ReportTable | None:
    """Return the table of a study's kernels; `None` where the study is of something else."""
    if not study.kernels:
        return None
    drawn = figures_table(study.kernels)
    failed = study.counts.failed
    return replace(drawn, notes=[*drawn.notes, _FAILED.format(counted(failed, "task"))]) if failed else drawn


def figures_table(told: Sequence[KernelFigures]) -> ReportTable:
    """Return figures of named sets of kernels as a table."""
    numbers = [
        Column("kernels", [Cell(str(one.n_kernels)) for one in told]),
        Column("cases", [Cell(str(one.n_cases)) for one in told]),
        Column("passed", [Cell(str(one.n_passed)) for one in told]),
        *(Column(f"fast_{p:g}", [_share(one, f"{p:g}") for one in told]) for p in THRESHOLDS),
        Column("geometric mean", [_figure(one.geometric_mean, "×") for one in told]),
        Column("score against the roof", [_figure(one.roof_score) for one in told]),
    ]
    notes = [*NOTES, *([_FLATTERS] if any(one.name == BEST for one in told) else [])]
    untimed = sum(one.n_untimed for one in told if one.name == ALL)
    notes += [_UNTIMED.format(untimed)] if untimed else []
    return ReportTable([Column("set", [Cell(one.words) for one in told], is_number=False)], numbers, notes)


def _share(one: KernelFigures, p: str) -> Cell:
    return Cell(f"{one.fast_p[p]:.2f}" if p in one.fast_p else "–")


def _figure(found: Figure | None, unit: str = "") -> Cell:
    if found is None:
        return Cell("–")
    ends = "one case" if found.low is None else f"[{number(found.low, 3)}–{number(found.high, 3)}]"
    return Cell(f"{number(found.value, 3)}{unit}", ends)
