"""What the kernels of a study came to together: fast_p, geometric mean, score against the roof. Part of its result.

A task that failed has no verdict and is in no figure; a kernel that is wrong is a done task and counts.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from joulegrid.cases.judged import PASSED
from joulegrid.kernels.scores import Judged, best_of_each_case, scores

if TYPE_CHECKING:
    from joulegrid.actors.result import ExperimentResult
    from joulegrid.jsontypes import Json
    from joulegrid.kernels.scores import Interval, Scores

WORKLOAD = "kernel"
ALL = "all"
BEST = "best of each case"


class Part(BaseModel):
    """A frozen part of the record."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Figure(Part):
    """A figure over kernels with the interval that resampling whole cases gives."""

    value: float
    low: float | None = None
    """Lower end of the 95 % bootstrap interval over cases; null where fewer than two cases have the figure."""
    high: float | None = None
    """Upper end."""


class KernelFigures(Part):
    """The figures of a set of kernels. A kernel is one candidate for one case; times are by the judge's clock."""

    name: str
    """`all`, or `best of each case`, which is chosen by the very times that it shows and flatters."""
    stratum: str | None = None
    """Letter of the environment that they were judged in; null where the whole run had one."""
    n_kernels: int
    n_cases: int
    n_passed: int
    """Kernels that passed on every shape, in every dtype and in every cycle."""
    n_untimed: int
    """Kernels that passed and were not timed; they are in no figure below."""
    fast_p: dict[str, float] = Field(default_factory=dict)
    """p → share of the work on which the kernel is right and more than p times as fast as the strongest baseline."""
    geometric_mean: Figure | None = None
    """Of the speed-ups that may be claimed of what passed; null where nothing was timed."""
    roof_score: Figure | None = None
    """Mean of 1 / (1 + (t - t_roof) / (t_baseline - t_roof)), 0 for a kernel that is wrong; null where nothing was
    timed."""

    @property
    def words(self) -> str:
        """The set's name, with its stratum where there are several."""
        return self.name if self.stratum is None else f"{self.name} ({self.stratum})"


def figures_of(judged: Sequence[Judged], stratum: str | None = None) -> list[KernelFigures]:
    """Return the figures of all kernels, and where some case has several those of the best of each case."""
    best = best_of_each_case(judged)
    sets = [(ALL, list(judged)), *([(BEST, best)] if len(best) < len(judged) else [])]
    return [_figures(name, stratum, scores(members)) for name, members in sets if members]


@dataclass(slots=True)
class _Cycles:
    """One kernel on one shape in one dtype, over its cycles."""

    case: str
    candidate: str
    shape_weight: float
    n: int
    n_passed: int
    speedups: list[float]
    roof_scores: list[float]

    def join(self, other: _Cycles) -> None:
        self.n += other.n
        self.n_passed += other.n_passed
        self.speedups = [*self.speedups, *other.speedups]
        self.roof_scores = [*self.roof_scores, *other.roof_scores]

    def judged(self) -> Judged:
        passed = self.n_passed == self.n
        return Judged(
            case=self.case,
            candidate=self.candidate,
            shape_weight=self.shape_weight,
            passed=passed,
            speedup=self._mean(self.speedups),
            roof_score=self._mean(self.roof_scores),
        )

    def _mean(self, values: Sequence[float]) -> float | None:
        """Mean over the cycles; none where a cycle has no number."""
        return sum(values) / len(values) if len(values) == self.n else None


class KernelResults:
    """Takes the results of a study one by one, keeps a few numbers of each kernel, and gives the figures."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], _Cycles] = {}

    def add(self, result: ExperimentResult, stratum: int = 0) -> None:
        """Take a done result; one of another workload says nothing."""
        if result.metrics is not None and result.effective_config.get("workload") == WORKLOAD:
            _taken(self._seen, (stratum, result.key), _cycle(result, result.metrics))

    def figures(self, letters: Mapping[int, str]) -> list[KernelFigures]:
        """Return the figures of each environment; `letters` is empty where there is one only."""
        strata: dict[str | None, dict[str, _Cycles]] = {}
        for (number, key), one in sorted(self._seen.items()):
            _taken(strata.setdefault(letters.get(number), {}), key, replace(one))
        ordered = sorted(strata, key=lambda letter: (len(letter or ""), letter or ""))
        told = ((letter, [one.judged() for one in strata[letter].values()]) for letter in ordered)
        return [figures for letter, judged in told for figures in figures_of(judged, letter)]


def _taken(seen: dict[Any, _Cycles], key: Hashable, one: _Cycles) -> None:
    known = seen.get(key)
    if known is None:
        seen[key] = one
    else:
        known.join(one)


def _cycle(result: ExperimentResult, metrics: Mapping[str, Json]) -> _Cycles:
    weight = metrics.get("shape_weight")
    return _Cycles(
        case=str(metrics.get("case")),
        candidate=f"{metrics.get('candidate')} {result.effective.get('candidate_sha256')}",
        shape_weight=float(weight) if isinstance(weight, int | float) else 1.0,
        n=1,
        n_passed=int(metrics.get("verdict") == PASSED),
        speedups=_numbers(metrics, "speedup"),
        roof_scores=_numbers(metrics, "roof_score"),
    )


def _numbers(metrics: Mapping[str, Json], name: str) -> list[float]:
    value = metrics.get(name)
    return [float(value)] if isinstance(value, int | float) else []


def _figures(name: str, stratum: str | None, found: Scores) -> KernelFigures:
    return KernelFigures(
        name=name,
        stratum=stratum,
        n_kernels=found.n_kernels,
        n_cases=found.n_cases,
        n_passed=found.n_passed,
        n_untimed=found.n_untimed,
        fast_p={f"{p:g}": share for p, share in found.fast.items()},
        geometric_mean=_figure(found.geometric_mean),
        roof_score=_figure(found.roof_score),
    )


def _figure(found: Interval | None) -> Figure | None:
    return None if found is None else Figure(value=found.value, low=found.low, high=found.high)
