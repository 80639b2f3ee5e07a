"""What many judged kernels come to: fast_p, a geometric mean with its interval, a score against the roof. Pure.

A kernel is one candidate for one case, over the shapes and dtypes that it was tried on. Each kernel counts the same;
within one, shapes count by their weight in the case and dtypes alike. Intervals resample whole cases, because shapes
and candidates of one case rise and fall together.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

THRESHOLDS = (1.0, 1.1, 1.5, 2.0)
RESAMPLES = 2_000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Judged:
    """One candidate on one shape in one dtype."""

    case: str
    candidate: str
    shape_weight: float
    passed: bool
    speedup: float | None = None
    """Claimed ratio of the strongest baseline's time to the kernel's; `None` where it was not timed."""
    roof_score: float | None = None
    """See `roof_score`; `None` where it was not timed."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the ends of its 95 % bootstrap interval; no ends where fewer than two cases have the figure."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """The figures of a set of kernels."""

    n_kernels: int
    n_cases: int
    n_passed: int
    """Kernels that passed on every shape and in every dtype."""
    n_untimed: int
    """Kernels that passed and were not timed; they are in no figure below."""
    fast: dict[float, float]
    """p → share of the work on which the kernel is right and faster than p times the strongest baseline."""
    geometric_mean: Interval | None
    """Of the speed-ups of what passed; `None` where nothing was timed."""
    roof_score: Interval | None
    """Mean over all kernels; one that did not pass has 0."""


def roof_score(kernel_s: float, baseline_s: float, roof_s: float) -> float | None:
    """Return 1 / (1 + (t_k - t_roof) / (t_b - t_roof)): 0.5 as fast as the baseline, 1 at the roof.

    From SOL-ExecBench (arXiv 2603.19173). `None` where the baseline is at the roof itself, so that nothing is left to
    gain; a kernel below the roof has 1.
    """
    if baseline_s <= roof_s:
        return None
    return 1 / (1 + max(0.0, kernel_s - roof_s) / (baseline_s - roof_s))


def scores(judged: Iterable[Judged]) -> Scores:
    """Return the figures; a kernel that failed on some shapes counts as failed there, and as timed on the others."""
    kernels = _kernels(judged)
    untimed = [one for one in kernels if all(part.passed and part.speedup is None for part in one)]
    counted = [one for one in kernels if one not in untimed]
    timed = any(part.speedup is not None for one in counted for part in one)
    return Scores(
        n_kernels=len(kernels),
        n_cases=len({one[0].case for one in kernels}),
        n_passed=sum(all(part.passed for part in one) for one in kernels),
        n_untimed=len(untimed),
        fast={p: _share_faster(counted, p) for p in THRESHOLDS} if counted else {},
        geometric_mean=_with_interval(counted, _geometric_mean) if timed else None,
        roof_score=_with_interval(counted, _mean_roof_score) if timed else None,
    )


def best_of_each_case(judged: Sequence[Judged]) -> list[Judged]:
    """Return of each case the candidate with the largest mean speed-up; chosen by what is reported, so it flatters."""
    best: dict[str, tuple[float, list[Judged]]] = {}
    for kernel in _kernels(judged):
        found = _geometric_mean([kernel])
        rank = (found or 0.0) if all(part.passed for part in kernel) else -1.0
        if kernel[0].case not in best or rank > best[kernel[0].case][0]:
            best[kernel[0].case] = (rank, kernel)
    return [part for _, kernel in best.values() for part in kernel]


def _kernels(judged: Iterable[Judged]) -> list[list[Judged]]:
    found: dict[tuple[str, str], list[Judged]] = {}
    for one in judged:
        found.setdefault((one.case, one.candidate), []).append(one)
    return list(found.values())


def _weighted(kernel: Sequence[Judged], value: Callable[[Judged], float | None]) -> float | None:
    """Mean of one kernel by the shapes' weights, over the parts that have a value."""
    pairs = [(part.shape_weight, found) for part in kernel if (found := value(part)) is not None]
    whole = sum(weight for weight, _ in pairs)
    return sum(weight * found for weight, found in pairs) / whole if whole > 0 else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _share_faster(kernels: Sequence[Sequence[Judged]], p: float) -> float:
    def is_faster(part: Judged) -> float | None:
        if part.passed and part.speedup is None:
            return None
        return float(part.passed and (part.speedup or 0.0) > p)

    return _mean(_weighted(kernel, is_faster) for kernel in kernels) or 0.0


def _geometric_mean(kernels: Sequence[Sequence[Judged]]) -> float | None:
    def log_speedup(part: Judged) -> float | None:
        return math.log(part.speedup) if part.passed and part.speedup else None

    found = _mean(_weighted(kernel, log_speedup) for kernel in kernels)
    return None if found is None else math.exp(found)


def _mean_roof_score(kernels: Sequence[Sequence[Judged]]) -> float | None:
    def score(part: Judged) -> float | None:
        return part.roof_score if part.passed else 0.0

    return _mean(_weighted(kernel, score) for kernel in kernels)


def _with_interval(
    kernels: Sequence[Sequence[Judged]], figure: Callable[[Sequence[Sequence[Judged]]], float | None]
) -> Interval | None:
    """The figure, and its percentile interval over resampled cases (Efron & Tibshirani 1993, ch. 13)."""
    value = figure(kernels)
    if value is None:
        return None
    by_case: dict[str, list[Sequence[Judged]]] = {}
    for kernel in kernels:
        by_case.setdefault(kernel[0].case, []).append(kernel)
    cases = [one for one in by_case.values() if figure(one) is not None]
    if len(cases) < 2:
        return Interval(value, None, None)
    random_numbers = random.Random(0)  # noqa: S311 - resampling, no secrets
    drawn = (random_numbers.choices(cases, k=len(cases)) for _ in range(RESAMPLES))
    found = sorted(one for sample in drawn if (one := figure([k for case in sample for k in case])) is not None)
    outside = (1 - LEVEL) / 2
    return Interval(value, found[int(outside * len(found))], found[int((1 - outside) * len(found)) - 1])
