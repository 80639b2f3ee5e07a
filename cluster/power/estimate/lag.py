"""Whether what is counted behind a load is power that flows (decay) or the sensor's memory of the load (lag).

A sensor with a lag of first order shows the *start* of a load late too: as many joules (for each watt of the step) are
missing there as stand behind the end. A true decay has a sharp start. The ratio is near 1 or near 0; where it is
neither, the load did not begin with the power that it went on with, and nothing follows.
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
    from joulegrid.cluster.power.estimate.ticks import Tick

MODEL = 0.15
"""Neither rise nor decay is exactly of first order: standard deviation of the ratio from this alone."""
STRANGE, WIDTH = 0.1, 10.0
"""Probability that a load begins otherwise than it goes on, and over how many ratios that spreads it."""
DECIDED = 3.0
"""Logarithm of the odds from which a verdict counts (20 to 1)."""
MATTERS = 0.001
LEAST_STRETCHES = 3


@dataclass(frozen=True, slots=True)
class Memory:
    """A window's joules if what stands behind it is its sensor's memory of it, and the odds for that."""

    lagged: Bounds
    matters: bool
    """Whether it makes a difference."""
    log_odds: float
    """Positive for a lag, negative for a decay."""


def memory_of(first: Counted, t1_s: float) -> Memory | None:
    """Compare a window's start with its end; `None` where nothing was seen behind it."""
    tail, lagged = first.end.tail, first.lagged
    if tail is None or lagged is None:
        return None
    shift_j = abs(lagged.energy_j - first.bounds.energy_j)
    matters = shift_j > MATTERS * first.bounds.energy_j
    return Memory(lagged, matters, _odds(first, tail.tau_s, t1_s) if matters else 0.0)


def _odds(first: Counted, tau: float, t1_s: float) -> float:
    """Log odds of lag against decay from the joules that are missing at the start."""
    horizon = 4 * tau + first.period_s
    ticks = [tick for tick in first.start.after if tick.t_s <= t1_s]
    late = [tick for tick in ticks if tick.t_s >= horizon]
    if len(late) < 4:
        return 0.0
    power = Span(late[0], late[-1]).power_w
    rise_w = power - first.start.left.power_w
    if rise_w <= 0.2 * power:
        return 0.0
    wander_w = _wander(late, power, horizon)
    at_start_j = first.start.span.end.counter_j - first.start.divided()[0].joules
    missing_s = (power * late[0].t_s - (late[0].counter_j - at_start_j)) / rise_w
    off_s = math.hypot(2 * wander_w * horizon, power * late[0].off_s) / rise_w
    return _likelihood(missing_s / tau, 1.0, off_s / tau) - _likelihood(missing_s / tau, 0.0, off_s / tau)


def _wander(late: list[Tick], power: float, horizon: float) -> float:
    """How far the mean power of stretches as long as `horizon` strays."""
    spans = [Span(a, b) for a, b in pairwise(late)]
    whole_s = late[-1].t_s - late[0].t_s
    square = sum((span.power_w - power) ** 2 for span in spans) / (len(spans) - 1)
    if whole_s < LEAST_STRETCHES * horizon:  # too short to show it: as if power kept what it had in an interval
        return math.sqrt(square)
    far = [next((b for b in late[i:] if b.t_s - a.t_s >= horizon), None) for i, a in enumerate(late)]
    means = [Span(a, b).power_w for a, b in zip(late, far, strict=True) if b is not None]
    return math.sqrt(sum((mean - power) ** 2 for mean in means) / len(means))


def _likelihood(ratio: float, expected: float, off: float) -> float:
    """Logarithm; a load that begins in a way of its own may show any ratio."""
    sigma = math.hypot(off, MODEL)
    usual = math.exp(-(((ratio - expected) / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
    return math.log((1 - STRANGE) * usual + STRANGE / (WIDTH + 10 * sigma))


def corrected(bounds: Bounds, memory: Memory, verdict: TailVerdict) -> tuple[Bounds, bool]:
    """The window's joules under a verdict; undecided covers both. Beside it whether it stayed undecided."""
    if verdict == "undecided" and abs(memory.log_odds) >= DECIDED:
        verdict = "lag" if memory.log_odds > 0 else "decay"
    if verdict != "undecided":
        return (memory.lagged if verdict == "lag" else bounds), False
    chosen = memory.lagged if memory.log_odds > DECIDED / 2 else bounds
    low, high = min(bounds.low_j, memory.lagged.low_j), max(bounds.high_j, memory.lagged.high_j)
    return Bounds(chosen.energy_j, low, high), memory.matters
