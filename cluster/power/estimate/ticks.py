"""When a counter ticked: the driver's own stamps where they hold, else a period and a phase, else the bracket.

A tick is known to lie between two looks, up to 50 ms apart. Ticks that come periodically confine each other: shifted by
whole periods, all brackets must contain one phase, and the intersection of twenty of them is below a millisecond wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Literal

from joulegrid.cluster.power.estimate.looks import LATENCY_S

if TYPE_CHECKING:
    from joulegrid.cluster.power.estimate.looks import Bracket

REACH = 16
"""Periods on either side of an edge that vote for the phase; further away a drifting period would blur it."""
AGREE = 0.9
"""Share of brackets that must contain the phase, else the ticks are not periodic."""
SLACKS_S = (LATENCY_S, 0.0015, 0.005)
"""How far ticks may stray from a grid: the first that most brackets agree with is taken."""
PRIOR = 3
"""Ticks that the belief about their jitter is worth."""
LEAST_DOUBT = 0.002
"""Relative: the period of a driver's timer drifts."""
USUAL_JITTER_S = 0.001
LEAST_NEAR = 3
LEAST_STAMPS = 6

Dating = Literal["stamps", "periodic", "brackets"]


@dataclass(frozen=True, slots=True)
class Tick:
    """A point of the counter: joules at an instant."""

    t_s: float
    off_s: float
    """Standard deviation of the instant."""
    counter_j: float
    power_w: float | None = None
    """Instant power as read with it."""


@dataclass(frozen=True, slots=True)
class Period:
    """The usual time between two ticks."""

    seconds: float
    doubt: float
    """How far it may be off, relatively."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Period and phase of ticks around an instant."""

    period_s: float
    phase_s: float
    off_s: float
    """Standard deviation of a single tick around it."""
    agreement: float
    """Share of the brackets that contain it."""

    def last_before(self, t_s: float) -> float:
        """The last tick at or before `t_s`."""
        return self.phase_s + math.floor((t_s - self.phase_s) / self.period_s) * self.period_s


def ticks_near(brackets: list[Bracket], at_s: float, period: Period | None = None) -> tuple[list[Tick], Dating]:
    """Date the ticks of `brackets` (sorted, those around `at_s`); `period` where it is known from further away."""
    stamped = _by_stamps(brackets)
    if stamped is not None:
        return stamped, "stamps"
    period = period or period_of(brackets)
    grid = grid_near(brackets, at_s, period) if period else None
    if grid is None:
        return [_plain(bracket, period.seconds if period else None) for bracket in brackets], "brackets"
    ticks = [_on_grid(bracket, grid) for bracket in brackets]
    if any(now.t_s <= then.t_s for then, now in pairwise(ticks)):
        return [_plain(bracket, grid.period_s) for bracket in brackets], "brackets"
    return ticks, "periodic"


def period_of(brackets: list[Bracket]) -> Period | None:
    """The usual time between two ticks, `None` under three: from neighbours, then over ever longer stretches."""
    steps = [(now.middle_s - then.middle_s, now.half_s + then.half_s) for then, now in pairwise(brackets)]
    if len(steps) < 2:
        return None
    least = 3 * min(blur for _, blur in steps)
    narrow = [(step, blur) for step, blur in steps if blur < 0.1 * step or (blur < 0.35 * step and blur < least)]
    period = sum(step for step, _ in steps) / len(steps)
    doubt = (brackets[0].half_s + brackets[-1].half_s + 2 * USUAL_JITTER_S) / (period * len(steps))
    if len(narrow) >= 2:
        close, blur = median(step for step, _ in narrow), max(blur / step for step, blur in narrow)
        if abs(period / close - 1) > doubt + blur:  # ticks merge between slow looks, or some came late
            period, doubt = close, blur
    anchor = min(brackets, key=_half)
    for _ in range(8):
        better = _stretched(brackets, anchor, period, doubt)
        if better is None:
            break
        period, doubt = better
    return Period(period, doubt)


def _stretched(brackets: list[Bracket], anchor: Bracket, period: float, doubt: float) -> tuple[float, float] | None:
    """A period over the stretch that divides its doubt the most, among those whose number of turns is beyond doubt."""
    found = []
    for bracket in brackets:
        stretch = abs(bracket.middle_s - anchor.middle_s)
        turns = round(stretch / period)
        blur = bracket.half_s + anchor.half_s + 2 * USUAL_JITTER_S
        if turns and turns * doubt + blur / period < 0.5:
            found.append((blur / stretch, stretch / turns))
    best = min(found, default=None)
    return None if best is None or best[0] > 0.8 * doubt else (best[1], best[0])


def grid_near(brackets: list[Bracket], at_s: float, known: Period) -> Grid | None:
    """The period and phase that most brackets around `at_s` contain; `None` where they contradict each other."""
    doubt = min(max(known.doubt, LEAST_DOUBT), 0.06)
    for slack in SLACKS_S:
        grid, period = None, known.seconds
        for reach, spread in ((REACH // 4, doubt), (REACH, min(doubt, 0.02)), (REACH, 0.001)):
            near = [b for b in brackets if abs(b.middle_s - at_s) <= (reach + 1) * period and 2 * b.half_s < period]
            if len(near) >= LEAST_NEAR:
                grid = _best(near, (period, spread), slack)
                period = grid.period_s
        if grid is not None and grid.agreement >= AGREE:
            return grid
    return None


def _best(near: list[Bracket], periods: tuple[float, float], slack: float) -> Grid:
    """Try periods around a guess; of those that equally many brackets agree with, take the middle one."""
    guess, spread = periods
    anchor = min(near, key=_half)
    scored = [(_overlap(near, anchor, guess * (1 + spread * step / 15), slack), step) for step in range(-15, 16)]
    top = max(count for (count, _, _), _ in scored)
    steps = [step for (count, _, _), step in scored if count == top]
    step = steps[len(steps) // 2]
    count, low, high = next(found for found, at in scored if at == step)
    period, phase = guess * (1 + spread * step / 15), (low + high) / 2
    jitter = _jitter(near, anchor, (period, phase), slack)
    return Grid(period, phase, math.hypot((high - low) / math.sqrt(12), jitter), count / len(near))


def _jitter(near: list[Bracket], anchor: Bracket, grid: tuple[float, float], slack: float) -> float:
    """Standard deviation of single ticks around the grid: from the narrowest brackets, with a weak prior."""
    period, phase = grid
    squares, count = PRIOR * (slack / 2 + LATENCY_S) ** 2, PRIOR
    for bracket in near:
        if bracket.half_s < 0.05 * period:
            turns = round((bracket.middle_s - anchor.middle_s) / period)
            squares += max(0.0, (bracket.middle_s - turns * period - phase) ** 2 - bracket.half_s**2 / 3)
            count += 1
    return math.sqrt(squares / count)


def _overlap(near: list[Bracket], anchor: Bracket, period: float, slack: float) -> tuple[int, float, float]:
    """How many brackets contain the most common phase, and from where to where it reaches."""
    shifts = [round((bracket.middle_s - anchor.middle_s) / period) * period for bracket in near]
    return _deepest([(b.low_s - shift, b.high_s - shift) for b, shift in zip(near, shifts, strict=True)], slack)


def _deepest(intervals: list[tuple[float, float]], slack: float) -> tuple[int, float, float]:
    """How many intervals, each wider by `slack`, contain the most common point, and where it lies."""
    marks = [(low - slack, 1) for low, _ in intervals] + [(high + slack, -1) for _, high in intervals]
    marks.sort(key=lambda mark: (mark[0], -mark[1]))
    depth, best, low, high = 0, 0, 0.0, 0.0
    for i, (at, change) in enumerate(marks):
        depth += change
        if depth > best:
            best, low, high = depth, at, marks[i + 1][0]
    return best, low, high


def _on_grid(bracket: Bracket, grid: Grid) -> Tick:
    """The last grid point in a bracket. Too close to its end to say which, both are allowed for."""
    at, off = grid.last_before(bracket.high_s), grid.off_s
    if at < bracket.low_s and bracket.low_s - at > at + grid.period_s - bracket.high_s:
        at += grid.period_s
    clipped = min(max(at, bracket.low_s), bracket.high_s)
    if abs(clipped - at) > bracket.half_s + off:
        return _plain(bracket, grid.period_s)
    late, early = at + grid.period_s - bracket.high_s, bracket.high_s - at
    if (late < 2 * off) or (early < 2 * off and at - grid.period_s > bracket.low_s):
        off = math.hypot(off, 0.3 * grid.period_s)
    return Tick(clipped, math.hypot(min(off, bracket.half_s / math.sqrt(3) + LATENCY_S), clipped - at), *_seen(bracket))


def _seen(bracket: Bracket) -> tuple[float, float | None]:
    return bracket.counter_j, bracket.power_w


def _plain(bracket: Bracket, period_s: float | None) -> Tick:
    low = max(bracket.low_s, bracket.high_s - 1.2 * period_s) if period_s else bracket.low_s
    half = (bracket.high_s - low) / 2
    return Tick((low + bracket.high_s) / 2, half / math.sqrt(3) + LATENCY_S, bracket.counter_j, bracket.power_w)


def _by_stamps(brackets: list[Bracket]) -> list[Tick] | None:
    """The driver's stamps less the offset of its clock, where one offset puts nearly all of them in their brackets."""
    stamped = [(b, b.stamp_s) for b in brackets if b.stamp_s is not None]
    if len(stamped) < len(brackets) or len(stamped) < LEAST_STAMPS or _is_query_time(stamped):
        return None
    best, low, high = _deepest([(stamp - b.high_s, stamp - b.low_s) for b, stamp in stamped], LATENCY_S)
    if best < 0.95 * len(brackets):
        return None
    offset, off = (low + high) / 2, (high - low) / math.sqrt(12) + LATENCY_S
    return [Tick(stamp - offset, off, b.counter_j, b.power_w) for b, stamp in stamped]


def _is_query_time(stamped: list[tuple[Bracket, float]]) -> bool:
    """Whether the stamps only repeat when they were asked for: then they say nothing of the tick."""
    gaps = [stamp - bracket.high_s for bracket, stamp in stamped]
    return max(gaps) - min(gaps) < 2 * LATENCY_S and median(b.half_s for b, _ in stamped) > 2 * LATENCY_S


def _half(bracket: Bracket) -> float:
    return bracket.half_s
