"""The joules on either side of a window's edge, inside the tick interval that the edge divides.

The counter gives D, the joules of the whole interval. What was before the edge is forecast from the intervals before,
what came after it from those behind; with L and R and their variances the joules after the edge are

    R + v_R / (v_L + v_R) · (D − L − R)

which leans on the steadier side: on idle power before a load, on the decay after it, on both in a flat load. Where
D − L − R is larger than both variances explain, no side is believed and the excess widens the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joulegrid.cluster.power.estimate.ticks import Tick

QUANTUM_J = 0.001
"""NVML counts millijoules."""
STEADIEST = 0.003
"""Power of a fixed load wanders by some tenths of a percent from tick to tick; less is luck of few intervals."""
SURPRISED = 1.2
"""What no side explains comes mostly of a counter that sees a part of each interval; then the sides are off, too."""
WEIGHTS = (0.4, 0.3, 0.2, 0.1)
"""Of the intervals next to an edge, nearest first."""


@dataclass(frozen=True, slots=True)
class Span:
    """One interval between two ticks."""

    start: Tick
    end: Tick

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end.t_s - self.start.t_s

    @property
    def joules(self) -> float:
        """What was counted in it."""
        return self.end.counter_j - self.start.counter_j

    @property
    def power_w(self) -> float:
        """Mean power."""
        return self.joules / self.seconds

    @property
    def off_j(self) -> float:
        """Standard deviation that not knowing exactly when it ticked gives to power times length."""
        return abs(self.power_w) * math.hypot(self.start.off_s, self.end.off_s) + QUANTUM_J


@dataclass(frozen=True, slots=True)
class Amount:
    """Joules with a variance."""

    joules: float
    variance: float
    power_w: float
    """Power next to the ticks, for what their dates leave open."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """A power that goes on for less than an interval."""

    power_w: float
    off_w: float
    """Standard deviation of an interval's mean around it."""
    interval_s: float

    def over(self, seconds: float) -> Amount:
        """Joules of a part of an interval: fluctuations are taken as independent from interval to interval."""
        length = max(self.interval_s, seconds)
        return Amount(self.power_w * seconds, self.off_w**2 * seconds * length, self.power_w)


def forecast(spans: list[Span]) -> Forecast | None:
    """Expect the next power from up to four intervals, nearest first; `None` without any.

    Its spread is that of the intervals around the forecast, and of instant power around each interval's mean where the
    board senses only a part of an interval.
    """
    spans = spans[: len(WEIGHTS)]
    if not spans:
        return None
    weights = WEIGHTS[: len(spans)]
    length = sum(span.seconds for span in spans) / len(spans)
    powers = [span.power_w for span in spans]
    whole = sum(weights)
    power = sum(w * p for w, p in zip(weights, powers, strict=True)) / whole
    spread = sum(w * (p - power) ** 2 for w, p in zip(weights, powers, strict=True)) / whole
    sensed = [s.end.power_w - s.power_w for s in spans if s.end.power_w is not None]
    apart = sum(sensed) / len(sensed) if sensed else 0.0  # a common difference is the cross-check's, not variation
    inner = sum((off - apart) ** 2 for off in sensed) / len(sensed) if sensed else 0.0
    dated = sum(s.off_j**2 for s in spans) / len(spans) / length**2
    small = len(spans) / max(1, len(spans) - 1) if len(spans) > 1 else 4.0
    return Forecast(power, math.sqrt(small * spread + max(0.0, inner - dated) / 2 + (STEADIEST * power) ** 2), length)


def divide(span: Span, left: Amount, right: Amount, together: bool) -> tuple[Amount, float]:
    """Joules of an interval that lie behind its edge, and what of D − L − R is beyond their spread.

    `together`: both ticks are off by the same time δ (they stand on one grid). Then the result is off by
    δ·(P_R + g·(P_L − P_R)), and the gain g that makes the whole variance least leans on the side of lower power.
    """
    p_left, p_right = left.power_w, right.power_w
    off2 = max(span.start.off_s, span.end.off_s) ** 2
    v_left, v_right = left.variance + QUANTUM_J**2, right.variance + QUANTUM_J**2
    if not together:
        v_left, v_right = v_left + off2 * p_left**2, v_right + off2 * p_right**2
        off2 = 0.0
    fall = p_left - p_right
    gain = (v_right - off2 * fall * p_right) / (v_left + v_right + off2 * fall**2)
    gain = min(max(gain, 0.0), 1.0)
    surprise = span.joules - left.joules - right.joules
    variance = gain**2 * v_left + (1 - gain) ** 2 * v_right + off2 * (p_right + gain * fall) ** 2
    beyond = max(0.0, abs(surprise) - 1.5 * math.sqrt(v_left + v_right + off2 * fall**2))
    return Amount(right.joules + gain * surprise, variance, p_right), SURPRISED * beyond
