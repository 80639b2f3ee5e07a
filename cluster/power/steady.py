"""Whether a window was in a steady state: throughput, power and temperature over its length. Pure arithmetic.

A drift is a straight line through means of up to 20 equal stretches, with its 95 % interval. A criterion is met where
the whole interval lies inside the bound, missed where all of it lies outside, and undecided else: a slope that cannot
be told from noise is no proof of steadiness.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from joulegrid.cluster.power.energy import Part
from joulegrid.student import student_t

POWER_PER_10_S = 0.01
"""Largest drift of power and of throughput, as a fraction of its mean, in 10 s."""
CELSIUS_PER_30_S = 1.0
LEAST_S = 10.0
"""Under this a window is short, and 1 % in 10 s cannot be told."""
STRETCHES = 20
LEAST_POINTS = 6

Verdict = Literal["steady", "not_steady", "unknown"]
Point = tuple[float, float]
"""(seconds, value)."""


class Drift(Part):
    """How one quantity drifted over a window; null with its reason where that cannot be said."""

    verdict: Verdict
    per_s: float | None = None
    """Slope of the straight line in a second: of the mean for power and throughput, °C for temperature."""
    u_per_s: float | None = None
    """Half the width of its 95 % interval."""
    bound_per_s: float
    """The largest slope that counts as steady."""
    mean: float | None = None
    """Mean over the window: watts, repetitions a second, °C."""
    reason: str | None = None
    """Why there is no verdict."""


class Steady(Part):
    """Whether a window was in a steady state."""

    verdict: Verdict
    """`steady`: every criterion is met; `not_steady`: one is missed; `unknown`: else."""
    power: Drift
    throughput: Drift
    temperature: Drift | None = None
    """Null where no GPU is read, whose temperature would count."""


def steadiness(
    seconds: float, power: Sequence[Point], done: Sequence[Point], celsius: Sequence[Point] | None
) -> Steady:
    """Judge a window of `seconds`.

    `power` are (seconds since the window's start, watts), `done` (seconds, repetitions finished so far), `celsius`
    (seconds, °C of the warmest GPU), or `None` where no GPU takes part.
    """
    relative_s = POWER_PER_10_S / 10
    short = f"a window of {seconds:.1f} s; {LEAST_S:g} s are needed" if seconds < LEAST_S else None
    watts = _drift(short, stretches(power), relative_s, "power readings", relative=True)
    rate = _drift(short, rates(done), relative_s, "repetitions", relative=True)
    warm = None if celsius is None else _drift(short, celsius, CELSIUS_PER_30_S / 30, "temperatures", relative=False)
    verdicts = {one.verdict for one in (watts, rate, warm) if one is not None}
    whole: Verdict = "not_steady" if "not_steady" in verdicts else "unknown" if "unknown" in verdicts else "steady"
    return Steady(verdict=whole, power=watts, throughput=rate, temperature=warm)


def stretches(points: Sequence[Point], most: int = STRETCHES) -> list[Point]:
    """Return the means of up to `most` runs of neighbouring points: they hang together less than the points do."""
    n = min(most, len(points))
    cuts = [round(one * len(points) / n) for one in range(n + 1)] if n else []
    return [
        (statistics.fmean(t_s for t_s, _ in part), statistics.fmean(value for _, value in part))
        for part in (points[low:high] for low, high in pairwise(cuts))
    ]


def rates(done: Sequence[Point], most: int = STRETCHES) -> list[Point]:
    """Return repetitions a second over up to `most` stretches between finished repetitions."""
    n = min(most, len(done) - 1)
    marks = [done[round(one * (len(done) - 1) / n)] for one in range(n + 1)] if n > 0 else []
    return [
        ((then_s + now_s) / 2, (now - then) / (now_s - then_s))
        for (then_s, then), (now_s, now) in pairwise(marks)
        if now_s > then_s
    ]


def _drift(short: str | None, points: Sequence[Point], bound_per_s: float, what: str, *, relative: bool) -> Drift:
    if short is not None or len(points) < LEAST_POINTS:
        few = f"{len(points)} stretches of {what}; {LEAST_POINTS} are needed"
        return Drift(verdict="unknown", bound_per_s=bound_per_s, reason=short or few)
    mean, slope, u_slope = line(points)
    scale = mean if relative else 1.0
    if scale <= 0:
        return Drift(verdict="unknown", bound_per_s=bound_per_s, mean=mean, reason=f"the mean of {what} is {mean:g}")
    per_s, u_per_s = slope / scale, u_slope / scale
    inside, outside = abs(per_s) + u_per_s < bound_per_s, abs(per_s) - u_per_s > bound_per_s
    return Drift(
        verdict="steady" if inside else "not_steady" if outside else "unknown",
        per_s=per_s,
        u_per_s=u_per_s,
        bound_per_s=bound_per_s,
        mean=mean,
        reason=None if inside or outside else "the slope's interval includes the bound",
    )


def line(points: Sequence[Point]) -> tuple[float, float, float]:
    """Return mean, slope in a second, and half the slope's 95 % interval, by least squares."""
    mean_s, mean = (statistics.fmean(axis) for axis in zip(*points, strict=True))
    spread = sum((t_s - mean_s) ** 2 for t_s, _ in points)
    slope = sum((t_s - mean_s) * (value - mean) for t_s, value in points) / spread
    rest = sum((value - mean - slope * (t_s - mean_s)) ** 2 for t_s, value in points)
    freedom = len(points) - 2
    return mean, slope, student_t(freedom) * math.sqrt(rest / freedom / spread)
