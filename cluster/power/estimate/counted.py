"""The joules of a window from a cumulative counter: whole tick intervals, and the two that the edges divide."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from joulegrid.cluster.power.estimate.edge import QUANTUM_J, Amount, Forecast, Span, divide, forecast
from joulegrid.cluster.power.estimate.known import Bounds
from joulegrid.cluster.power.estimate.tail import Tail, fit_tail
from joulegrid.cluster.power.estimate.ticks import REACH, Dating, Period, Tick, period_of, ticks_near
from joulegrid.cluster.power.sensors.series import UnreadError

if TYPE_CHECKING:
    from joulegrid.cluster.power.estimate.looks import Bracket

SIGMAS = 2.2
STALL_S = 1.5  # longer without a tick is a stall: NVIDIA's driver polls at most 1,000 ms apart
TAIL_S = 1.2  # what is looked at behind a window
CLOSE = 0.4  # of the usual interval: two ticks that seem closer were dated badly, and no power follows from them
DRIFT = 0.05
CALIBRATED = 0.01  # what two seconds of fast readings leave open of a period, relatively
STALLED = 3.0  # usual intervals without a tick
USUAL_TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge of a window and what is known around it."""

    at_s: float
    index: int
    """Of the first tick behind the edge, among all."""
    span: Span
    """The interval that the edge divides."""
    left: Forecast
    right: Forecast
    tail: Tail | None
    dating: Dating
    after: tuple[Tick, ...]
    """The ticks behind the edge, as far as they were dated."""

    @property
    def left_s(self) -> float:
        """Seconds of the interval before the edge."""
        return min(max(self.at_s - self.span.start.t_s, 0.0), self.span.seconds)

    def divided(self) -> tuple[Amount, float]:
        """Joules of the interval behind the edge, and what the forecasts leave unexplained."""
        return divide(self.span, *self.forecasts(), together=self.dating != "brackets")

    def forecasts(self) -> tuple[Amount, Amount]:
        """Joules on either side as the neighbours expect them."""
        right = self.right.over(self.span.seconds - self.left_s)
        return self.left.over(self.left_s), self.tail.first if self.tail else right


@dataclass(frozen=True, slots=True)
class Counted:
    """A window's joules by its counter, and what its edges showed."""

    bounds: Bounds
    start: Edge
    end: Edge
    period_s: float
    drifted: bool
    """Whether the calibrated period did not hold."""
    stalled: bool
    lost: tuple[tuple[float, float], ...]
    """Intervals in which the counter went backwards: their joules are missing here."""


def counted(brackets: list[Bracket], t1_s: float, period_s: float | None) -> Counted:
    """Joules between 0 and `t1_s`; `UnreadError` where a tick is missing on either side or a stall hides an edge."""
    usual = settled_period(brackets, period_s)
    start = edge_at(brackets, 0.0, (-math.inf, t1_s), usual)
    end = edge_at(brackets, t1_s, (0.0, math.inf), usual)
    behind, beyond0 = start.divided()
    rest, beyond1 = end.divided()
    inner = list(pairwise(brackets[start.index : end.index]))
    steps = [now.counter_j - then.counter_j for then, now in inner]
    whole_j = sum(step for step in steps if step >= 0)
    if start.index == end.index:  # both edges divide the same interval
        whole_j = -start.span.joules
    energy_j = whole_j + behind.joules + end.span.joules - rest.joules
    half_j = SIGMAS * math.sqrt(behind.variance + rest.variance) + beyond0 + beyond1 + 2 * QUANTUM_J
    return Counted(
        Bounds.around(energy_j, half_j),
        start,
        end,
        usual.seconds,
        period_s is not None and usual.seconds != period_s,
        any(now.middle_s - then.middle_s > STALLED * usual.seconds for then, now in inner),
        tuple((then.middle_s, now.middle_s) for then, now in inner if now.counter_j < then.counter_j),
    )


def settled_period(brackets: list[Bracket], known_s: float | None) -> Period:
    """The calibrated period as long as what is seen agrees with it; several ticks may merge between looks."""
    seen = period_of(brackets)
    if known_s is None:
        return seen or Period(USUAL_TICK_S, 1.0)
    if seen is None or abs(seen.seconds / max(1, round(seen.seconds / known_s)) / known_s - 1) < DRIFT:
        return Period(known_s, CALIBRATED)
    return seen


def edge_at(brackets: list[Bracket], at_s: float, limits: tuple[float, float], usual: Period) -> Edge:
    """Date the ticks around an edge and forecast both sides from intervals inside `limits`."""
    reach = max(TAIL_S, (REACH + 2) * usual.seconds)
    first = bisect_left(brackets, at_s - reach, key=_high)
    near = brackets[first : bisect_right(brackets, at_s + reach, key=_high)]
    ticks, dating = ticks_near(near, at_s, usual)
    turn = bisect_right(ticks, at_s, key=_time)
    span = _divided(ticks, turn, usual.seconds)
    before = _chain(ticks[:turn][::-1], limits, CLOSE * usual.seconds)
    after = _chain(ticks[turn:], limits, CLOSE * usual.seconds)
    unknown = Forecast(span.power_w, span.power_w, span.seconds)
    left = forecast([Span(b, a) for a, b in pairwise(before)]) or unknown
    spans = [Span(a, b) for a, b in pairwise(after)]
    right = forecast(spans) or unknown
    tail = fit_tail(spans, at_s, left) if limits[1] == math.inf else None
    return Edge(at_s, first + turn, span, left, right, tail, dating, tuple(after))


def _divided(ticks: list[Tick], turn: int, usual: float) -> Span:
    if turn == 0:
        raise UnreadError("no tick of the energy counter is known from before the window (two hours are kept)")
    if turn == len(ticks):
        raise UnreadError("the energy counter did not advance after the window")
    span = Span(ticks[turn - 1], ticks[turn])
    if span.joules < 0:
        raise UnreadError("the energy counter went backwards at an edge of the window")
    if span.seconds > max(STALL_S, STALLED * usual):
        raise UnreadError(f"the energy counter had no new value for {span.seconds:.1f} s")
    return span


def _chain(ticks: list[Tick], limits: tuple[float, float], close_s: float) -> list[Tick]:
    """Ticks from an edge outwards, inside `limits`, as far as the counter rises; of close ones the first."""
    kept: list[Tick] = []
    for tick in ticks:
        if not limits[0] <= tick.t_s <= limits[1]:
            break
        if kept and abs(tick.t_s - kept[-1].t_s) < close_s:
            continue
        if kept and (tick.counter_j - kept[-1].counter_j) * (tick.t_s - kept[-1].t_s) <= 0:
            break
        kept.append(tick)
    return kept


def _high(bracket: Bracket) -> float:
    return bracket.high_s


def _time(tick: Tick) -> float:
    return tick.t_s
