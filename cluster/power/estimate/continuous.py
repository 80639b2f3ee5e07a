"""The joules of a window from a counter that moves faster than it is read: RAPL, each millisecond.

Every look is a tick then, as old as that millisecond; the edges are divided as those of a slow counter.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from joulegrid.cluster.power.estimate.edge import Amount, Forecast, Span, divide, forecast
from joulegrid.cluster.power.estimate.known import Bounds
from joulegrid.cluster.power.estimate.ticks import Tick
from joulegrid.cluster.power.sensors.series import UnreadError

if TYPE_CHECKING:
    from joulegrid.cluster.power.sensors.readings import Reading

UPDATE_S = 0.001  # Intel SDM 14.9: energy status counters are updated about every millisecond
LATE = 0.1
"""Of the time between two looks: the reader may be put aside between the clock and the file."""
SIGMAS = 2.0


def between_looks(readings: list[Reading], t0_ns: int, t1_ns: int, longest_s: float) -> Bounds:
    """Joules between two instants. Raises `UnreadError` without a reading on either side or over too long a gap."""
    looks = [((r.t_ns - t0_ns) / 1e9, r.counter_j) for r in readings if r.counter_j is not None]
    gap_s = median(b - a for (a, _), (b, _) in pairwise(looks)) if len(looks) > 1 else 0.0
    off_s = max(UPDATE_S, LATE * gap_s)
    ticks = [Tick(t_s, off_s, joules) for t_s, joules in looks]
    t1_s = (t1_ns - t0_ns) / 1e9
    start, end = (bisect_left(ticks, at_s, key=lambda tick: tick.t_s) for at_s in (0.0, t1_s))
    if start == 0:
        raise UnreadError("no reading is known from before the window (two hours are kept)")
    if end == len(ticks):
        raise UnreadError("no reading after the window")
    used = ticks[start - 1 : end + 1]
    if any(b.counter_j < a.counter_j for a, b in pairwise(used)):
        raise UnreadError("the energy counter went backwards")
    pause_s = max(b.t_s - a.t_s for a, b in pairwise(used))
    if pause_s > longest_s:
        raise UnreadError(f"the energy counter had no reading for {pause_s:.1f} s")
    behind, doubt0 = _divided(ticks, start, 0.0, t1_s)
    rest, doubt1 = _divided(ticks, end, t1_s, math.inf)
    energy_j = ticks[end].counter_j - rest.joules - ticks[start].counter_j + behind.joules
    return Bounds.around(energy_j, SIGMAS * math.sqrt(behind.variance + rest.variance) + doubt0 + doubt1)


def _divided(ticks: list[Tick], turn: int, at_s: float, limit_s: float) -> tuple[Amount, float]:
    span = Span(ticks[turn - 1], ticks[turn])
    low_s = 0.0 if at_s > 0.0 else -math.inf
    before = [tick for tick in reversed(ticks[max(0, turn - 5) : turn]) if tick.t_s >= low_s]
    after = [tick for tick in ticks[turn : turn + 5] if tick.t_s <= limit_s]
    unknown = Forecast(span.power_w, span.power_w, span.seconds)
    left = forecast([Span(b, a) for a, b in pairwise(before)]) or unknown
    right = forecast([Span(a, b) for a, b in pairwise(after)]) or unknown
    left_s = at_s - span.start.t_s
    return divide(span, left.over(left_s), right.over(span.seconds - left_s), together=True)
