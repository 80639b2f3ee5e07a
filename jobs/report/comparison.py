"""Is one experiment's number different from the baseline's? Ratios with intervals, and Holm's correction. Pure.

Two numbers are set against each other only within a block: the same device in the same cycle, in one environment, and
energies only of one kind. What a block or a device has of its own (a warm afternoon, a sensor that reads 3 % low) then
cancels. The ratio is the geometric mean of the blocks' ratios, its interval Student's t on their logarithms. From three
devices on, each device counts once, by its mean, so that the interval speaks of further devices of the kind too; with
fewer every block counts, and nothing is said beyond these devices.

Every comparison of a report is a test of one family. Its p values are corrected by Holm's step-down procedure
(Scandinavian Journal of Statistics 6, 1979), which keeps the chance of any false difference in the report at 5 % or
less, whatever depends on what. `adjusted_low` and `adjusted_high` are the interval at the level at which Holm's
procedure tested the comparison: it includes 1 exactly where the two cannot be told apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from joulegrid.cluster.power.energy import Provenance, Scope, Source
from joulegrid.student import CONFIDENCE, student_t, two_sided_p

ALPHA = 1.0 - CONFIDENCE
DEVICES_TO_GENERALISE = 3
_LARGEST_LOG = 700.0
Verdict = Literal["lower", "higher", "cannot_tell_apart"]


class Part(BaseModel):
    """A frozen part of the record."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Comparison(Part):
    """One number of one experiment against the baseline's."""

    index: int
    key: str
    label: str
    stratum: str | None = None
    metric: str
    """`energy_per.{unit}`, `energy_j`, `seconds`, or a metric's dotted name."""
    provenance: Provenance | None = None
    """Of an energy; measured, modelled and simulated are never set against each other. Null for other numbers."""
    source: Source | None = None
    scope: Scope | None = None
    n_blocks: int = 0
    """Pairs of device and cycle in which both were done."""
    n_devices: int = 0
    ratio: float | None = None
    """Experiment ÷ baseline, the geometric mean over the blocks; null without a block."""
    low: float | None = None
    """Lower end of the 95 % interval of this comparison by itself; null with fewer than two blocks."""
    high: float | None = None
    p: float | None = None
    """Probability of a ratio at least so far from 1 if the two were equal."""
    p_holm: float | None = None
    """The same after Holm's correction over the family."""
    adjusted_low: float | None = None
    """Lower end of the interval at the level of Holm's procedure."""
    adjusted_high: float | None = None
    verdict: Verdict | None = None
    """`lower` or `higher` than the baseline, or `cannot_tell_apart`; null where nothing could be tested."""
    reason: str | None = None
    """Why nothing could be tested."""


class Comparisons(Part):
    """A run's experiments against one of them, the declared baseline."""

    baseline: str
    """As it was declared: a label or a key."""
    baseline_key: str | None = None
    baseline_label: str | None = None
    metrics: list[str] = Field(default_factory=list)
    """The numbers that are compared."""
    family_size: int = 0
    """Tests that Holm's correction is over: every comparison of this record that has an interval."""
    these_devices_only: bool = True
    """Fewer than three devices: nothing is said of further ones."""
    comparisons: list[Comparison] = Field(default_factory=list)
    reason: str | None = None
    """Why there is none."""

    @property
    def family(self) -> str:
        """The family in words."""
        tested = [one for one in self.comparisons if one.p is not None]
        experiments, metrics = len({one.key for one in tested}), len({one.metric for one in tested})
        return (
            f"{self.family_size} {'test' if self.family_size == 1 else 'tests'}: "
            f"{experiments} {'experiment' if experiments == 1 else 'experiments'} against the baseline, "
            f"{metrics} {'metric' if metrics == 1 else 'metrics'}"
        )


@dataclass(frozen=True, slots=True)
class LogRatio:
    """The logarithm of a ratio, estimated from blocks."""

    mean: float
    error: float | None
    """Standard error; `None` with one block."""
    freedom: int
    n_blocks: int
    n_devices: int
    common: float = 0.0
    """Half-width of what blocks cannot show: edges with a cause that all of them share."""

    @property
    def p(self) -> float | None:
        """Two-sided p value against equality: 1 where `common` alone could explain the mean."""
        if self.error is None:
            return None
        excess = math.sqrt(max(0.0, self.mean**2 - self.common**2))
        if self.error == 0.0:
            return 0.0 if excess else 1.0
        return two_sided_p(excess / self.error, self.freedom)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """Return the ends of the ratio's interval."""
        if self.error is None:
            return None
        half = math.hypot(student_t(self.freedom, confidence) * self.error, self.common)
        return _exp(self.mean - half), _exp(self.mean + half)


def log_ratio(blocks: Mapping[str, Sequence[float]], common: float = 0.0) -> LogRatio | None:
    """Estimate from device → logarithms of its blocks' ratios; `None` without a block.

    From three devices on a device's mean is one observation, else each block is.
    """
    devices = [list(logs) for logs in blocks.values() if logs]
    every = [log for logs in devices for log in logs]
    if not every:
        return None
    values = [math.fsum(logs) / len(logs) for logs in devices] if len(devices) >= DEVICES_TO_GENERALISE else every
    n = len(values)
    mean = math.fsum(values) / n
    error = None if n < 2 else math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    return LogRatio(mean, error, max(1, n - 1), len(every), len(devices), common)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values after Holm's step-down correction, in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for step, at in enumerate(order):
        largest = max(largest, min(1.0, p_values[at] * (len(order) - step)))
        adjusted[at] = largest
    return adjusted


def holm_levels(p_values: Sequence[float], alpha: float = ALPHA) -> list[float]:
    """Return the level at which Holm's procedure tests each hypothesis; after the first that is kept it stays."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    levels, kept = [alpha] * len(p_values), None
    for step, at in enumerate(order):
        level = alpha / (len(order) - step) if kept is None else kept
        levels[at] = level
        if kept is None and p_values[at] > level:
            kept = level
    return levels


def judged(found: Sequence[tuple[Comparison, LogRatio | None]]) -> list[Comparison]:
    """Return the comparisons with ratio, intervals, p values and verdict; all of them are one family."""
    p_values = [estimate.p for _, estimate in found if estimate is not None and estimate.p is not None]
    corrected = zip(holm(p_values), holm_levels(p_values), strict=True)
    done = []
    for comparison, estimate in found:
        if estimate is None or estimate.p is None:
            ratio = None if estimate is None else _exp(estimate.mean)
            done.append(comparison.model_copy(update={**_counts(estimate), "ratio": ratio}))
        else:
            done.append(comparison.model_copy(update=_told(estimate, *next(corrected))))
    return done


def _told(estimate: LogRatio, p_holm: float, level: float) -> dict[str, object]:
    low, high = estimate.interval() or (None, None)
    adjusted_low, adjusted_high = estimate.interval(1.0 - level) or (None, None)
    assert estimate.p is not None  # the caller has looked
    verdict = "cannot_tell_apart" if estimate.p > level else "higher" if estimate.mean > 0 else "lower"
    ends = {"low": low, "high": high, "adjusted_low": adjusted_low, "adjusted_high": adjusted_high}
    judgement = {"p": estimate.p, "p_holm": p_holm, "verdict": verdict, "reason": None}
    return {**_counts(estimate), "ratio": _exp(estimate.mean), **ends, **judgement}


def _exp(logarithm: float) -> float:
    """Two blocks in a large family give intervals beyond what a float can hold."""
    return math.exp(max(-_LARGEST_LOG, min(_LARGEST_LOG, logarithm)))


def _counts(estimate: LogRatio | None) -> dict[str, object]:
    if estimate is None:
        return {}
    return {"n_blocks": estimate.n_blocks, "n_devices": estimate.n_devices, "reason": "one block only: no interval"}
