"""Whether what is counted behind a load is power that flows (decay) or the sensor's memory of the load (lag).

A sensor with a lag of first order shows P_s with P = P_s + τ·dP_s/dt, so a window's joules are those that were sensed
plus τ·(P_s(t1) − P_s(t0)). Such a sensor also shows the *start* of a load late: as many joules (for each watt of the
step) are missing there as stand behind the end. A true decay has a sharp start. The ratio is near 1 or near 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from joulegrid.cluster.power.estimate.edge import Span
from joulegrid.cluster.power.estimate.known import Bounds

if TYPE_CHECKING:
    from joulegrid.cluster.power.estimate.counted import Counted
    from joulegrid.cluster.power.estimate.known import TailVerdict

MODEL = 0.15
"""Neither rise nor decay is exactly of first order: standard deviation of the ratio from this alone."""
DECIDED = 3.0
"""Logarithm of the odds from which a verdict counts (20 to 1)."""
MOST = 6.0
"""One window adds no more to what is learnt than this."""
MATTERS = 0.001


@dataclass(frozen=True, slots=True)
class Memory:
    """What stands behind a load, and the odds that it belongs to it."""

    shift_j: float
    """Joules that a lag would add to the window."""
    off_j: float
    """Their standard deviation."""
    log_odds: float
    """Positive for a lag, negative for a decay."""


def memory_of(first: Counted, t1_s: float) -> Memory | None:
    """Compare a window's start with its end; `None` where its end shows no step."""
    tail = first.end.tail
    if tail is None:
        return None
    drop_w = first.end.left.power_w - tail.base_w
    if drop_w <= 3 * first.end.left.off_w or tail.excess.joules <= MATTERS * first.bounds.energy_j:
        return None
    tau = tail.excess.joules / drop_w
    shift_j = tail.excess.joules + tau * (tail.base_w - first.start.left.power_w)
    off_j = math.sqrt(tail.excess.variance) + 0.03 * abs(shift_j)
    return Memory(shift_j, off_j, _odds(first, tau, t1_s))


def _odds(first: Counted, tau: float, t1_s: float) -> float:
    """Log odds of lag against decay from the joules that are missing at the start."""
    horizon = 4 * tau + first.period_s
    ticks = [tick for tick in first.start.after if tick.t_s <= t1_s]
    early = [tick for tick in ticks if tick.t_s >= horizon]
    steady = [Span(a, b) for a, b in pairwise(early)][:10]
    if len(steady) < 3:
        return 0.0
    power = (steady[-1].end.counter_j - early[0].counter_j) / (steady[-1].end.t_s - early[0].t_s)
    rise_w = power - first.start.left.power_w
    if rise_w <= 0.2 * power:
        return 0.0
    at_start_j = first.start.span.end.counter_j - first.start.divided()[0].joules
    missing_s = (power * early[0].t_s - (early[0].counter_j - at_start_j)) / rise_w
    spread = math.sqrt(sum((span.power_w - power) ** 2 for span in steady) / len(steady)) + first.end.left.off_w
    off_s = math.hypot(2 * spread * horizon, power * early[0].off_s) / rise_w
    square = (off_s / tau) ** 2 + MODEL**2
    ratio = missing_s / tau
    return max(-MOST, min(MOST, (ratio - 0.5) / square))


def corrected(bounds: Bounds, memory: Memory, verdict: TailVerdict) -> tuple[Bounds, bool]:
    """The window's joules under a verdict; undecided covers both. Beside it whether it stayed undecided."""
    if verdict == "undecided" and abs(memory.log_odds) >= DECIDED:
        verdict = "lag" if memory.log_odds > 0 else "decay"
    lagged = Bounds.around(bounds.energy_j + memory.shift_j, math.hypot(bounds.half_j, 2 * memory.off_j))
    if verdict == "decay":
        return bounds, False
    if verdict == "lag":
        return lagged, False
    chosen = lagged if memory.log_odds > DECIDED / 2 else bounds
    low, high = min(bounds.low_j, lagged.low_j), max(bounds.high_j, lagged.high_j)
    return Bounds(chosen.energy_j, low, high), True
