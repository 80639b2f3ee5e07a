"""Reasons not to believe a reading: a counter leaps, power stands still, sensors contradict each other."""

from __future__ import annotations

from itertools import groupby, pairwise
from statistics import median
from typing import TYPE_CHECKING

from joulegrid.cluster.power.estimate.integral import Published
from joulegrid.cluster.power.estimate.looks import MOST_W
from joulegrid.cluster.power.sensors.series import UnreadError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joulegrid.cluster.power.estimate.looks import Bracket
    from joulegrid.cluster.power.sensors.readings import Reading

OVER = 1.5
"""Mean power of an update over the board's limit that no excursion explains: these last milliseconds."""
NEAR_S = 0.5
"""Updates so near to a window enter its edges."""
BESIDE = 0.05
LEAST_BESIDE = 5
ALONE = 8.0
"""A difference so many times the usual one of an update, and more than half of all, is a leap and no aliasing."""
STILL_S, AROUND_S = 1.0, 0.2


def refuse_leaps(brackets: list[Bracket], t1_s: float, limit_w: float | None) -> None:
    """Raise `UnreadError` where the counter rose by more than the board can draw, in the window or near its edges."""
    most_w = MOST_W if limit_w is None else min(MOST_W, OVER * limit_w)
    for then, now in pairwise(brackets):
        longest_s, risen_j = now.high_s - then.low_s, now.counter_j - then.counter_j
        if now.high_s >= -NEAR_S and then.low_s <= t1_s + NEAR_S and risen_j > most_w * longest_s:
            why = f"the energy counter leapt by {risen_j:,.0f} J in {longest_s:.2f} s, more than {most_w:,.0f} W give"
            raise UnreadError(why, "counter_distrusted")


def leapt(brackets: list[Bracket], t1_s: float, period_s: float) -> bool:
    """Whether one update alone makes the counter differ from instant power inside a window."""
    inside = [b for b in brackets if 0.0 < b.middle_s < t1_s]
    apart = [joules - power_w * seconds for joules, power_w, seconds in _updates(inside, period_s)]
    if len(apart) < LEAST_BESIDE:
        return False
    largest = max(apart, key=abs)
    return abs(largest) > abs(sum(apart)) / 2 and abs(largest) > ALONE * median(abs(off) for off in apart)


def agree_beside(brackets: list[Bracket], t1_s: float, period_s: float) -> bool:
    """Whether counter and instant power show the same watts before and behind a window, in most updates."""
    sides = [b for b in brackets if b.high_s < 0.0], [b for b in brackets if b.low_s > t1_s]
    ratios = [joules / (power_w * seconds) for side in sides for joules, power_w, seconds in _updates(side, period_s)]
    return len(ratios) >= LEAST_BESIDE and abs(median(ratios) - 1) <= BESIDE


def _updates(brackets: list[Bracket], period_s: float) -> Iterator[tuple[float, float, float]]:
    """Joules, instant power and length of each update; single ticks are dated too roughly to tell its length."""
    for then, now in pairwise(brackets):
        if now.power_w:
            turns = max(1, round((now.middle_s - then.middle_s) / period_s))
            yield now.counter_j - then.counter_j, now.power_w, turns * period_s


def refuse_stalled_power(readings: list[Reading], window: tuple[int, int]) -> None:
    """Raise `UnreadError` where the driver's stamps, which had moved before, say that instant power was not updated."""
    t0_ns, t1_ns = window
    stamped = [(r.t_ns, r.power_stamp_ns) for r in readings if r.power_stamp_ns is not None]
    inside = [stamp for t_ns, stamp in stamped if t0_ns <= t_ns <= t1_ns]
    if len(inside) < 2 or len({stamp for _, stamp in stamped}) < LEAST_BESIDE:
        return
    still_s = max(_longest_still(stamped, t0_ns, t1_ns)) / 1e9
    if still_s >= STILL_S:
        raise UnreadError(f"instant power was not updated for {still_s:.1f} s", "power_stalled")


def stands_still(looks: list[Published], t1_s: float) -> bool:
    """Whether instant power had one value only, from two updates before a window until two behind it."""
    values = {look.power_w for look in looks if -AROUND_S <= look.t_s <= t1_s + AROUND_S}
    return len(values) == 1 and t1_s >= STILL_S


def _longest_still(stamped: list[tuple[int, int]], t0_ns: int, t1_ns: int) -> Iterator[int]:
    """How long each stamp was seen inside a window."""
    for _, group in groupby(stamped, key=lambda each: each[1]):
        times = [t_ns for t_ns, _ in group]
        yield min(times[-1], t1_ns) - max(times[0], t0_ns)
