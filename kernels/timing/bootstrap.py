"""Intervals of a ratio of times, by bootstrap over fresh processes.

Whole processes are drawn with replacement, each with all of its series: what one process's memory layout does to its
times is no average over many series. (Drawing series anew inside each counts their noise twice: simulated intervals
became five times as wide as the errors.) With five processes a plain percentile interval is too narrow; the percentiles
are widened as Hesterberg (2015, "What Teachers Should Know About the Bootstrap", section 5.3) proposes: to
Φ(−√(n/(n−1)) · t(n−1)) instead of α/2. Its coverage is simulated in `tests/kernels/timing/test_bootstrap.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

from joulegrid.kernels.timing.slope import Durations, call_ns, channel_ns
from joulegrid.student import student_t

CONFIDENCE = 0.95
RESAMPLES = 10_000
FEWEST_PROCESSES = 5

Change = Literal["faster", "slower", "no change"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate with its interval."""

    low: float
    estimate: float
    high: float


@dataclass(frozen=True, slots=True)
class Resampling:
    """How often is drawn, with which confidence, and from which seed."""

    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES
    seed: int = 0


def ratio_bounds(
    numerator: Durations, denominator: Durations, trusted: Sequence[Durations], how: Resampling = Resampling()
) -> Bounds:
    """Return how many times longer a call of the numerator takes, with an interval.

    The logarithms of the processes' ratios are averaged: process by process both members saw the same machine and
    inputs. The channel's cost counts as known. `ValueError` below five processes.
    """
    import numpy as np

    channel = channel_ns(trusted, (numerator, denominator))
    bounds = _bounds(np.log(call_ns(numerator, channel) / call_ns(denominator, channel)), how)
    return Bounds(math.exp(bounds.low), math.exp(bounds.estimate), math.exp(bounds.high))


def call_bounds(member: Durations, trusted: Sequence[Durations], how: Resampling = Resampling()) -> Bounds:
    """Return a member's time per call in nanoseconds: the processes' mean, with an interval."""
    return _bounds(call_ns(member, channel_ns(trusted, (member,))), how)


def change(claim: Bounds, same: Bounds) -> Change:
    """Say what a ratio baseline ÷ candidate shows beside that of the baseline to itself: inside it, nothing."""
    if claim.low > max(1.0, same.high):
        return "faster"
    return "slower" if claim.high < min(1.0, same.low) else "no change"


def half_width(ratio: Bounds) -> float:
    """Return half of a ratio's interval, as a share of the ratio."""
    return math.sqrt(ratio.high / ratio.low) - 1


def spread(same: Bounds) -> float:
    """Return how far a ratio that is 1 was measured from 1: the farther end of its interval."""
    return max(abs(same.low - 1), abs(same.high - 1))


def widened_tail(processes: int, confidence: float = CONFIDENCE) -> float:
    """Return the percentile (as a share) that stands for α/2 with so few processes."""
    t = student_t(processes - 1, confidence)
    return NormalDist().cdf(-math.sqrt(processes / (processes - 1)) * t)


def _bounds(values: Any, how: Resampling) -> Bounds:
    """The mean of one value of each process, with its interval."""
    import numpy as np

    processes = len(values)
    if processes < FEWEST_PROCESSES:
        raise ValueError(f"{processes} processes were timed; an interval needs {FEWEST_PROCESSES} at least")
    generator = np.random.default_rng(how.seed)
    chosen = generator.integers(processes, size=(how.resamples, processes))
    drawn = values[chosen].mean(axis=-1)
    tail = widened_tail(processes, how.confidence)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    estimate = float(values.mean())
    return Bounds(min(float(low), estimate), estimate, max(float(high), estimate))
