"""The joules of a window from a cumulative counter: whole tick intervals, and the two that the edges divide."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from joulegrid.cluster.power.estimate.edge import QUANTUM_J, STEADIEST, Amount, Forecast, Span, divide, forecast
from joulegrid.cluster.power.estimate.known import NOTHING, Bounds, Known
from joulegrid.cluster.power.estimate.tail import Tail, fit_tail
from joulegrid.cluster.power.estimate.ticks import REACH, Dating, Period, Tick, period_of, ticks_near
from joulegrid.cluster.power.sensors.series import UnreadError

if TYPE_CHECKING:
    from joulegrid.cluster.power.estimate.looks import Bracket

SIGMAS = 2.0
STALL_S = 1.5  # longer without a tick is a stall: NVIDIA's driver polls at most 1,000 ms apart
TAIL_S = 1.2  # what is looked at behind a window
CLOSE = 0.4  # of the usual interval: two ticks that seem closer were dated badly, and no power follows from them
RISEN = 0.1  # of the fall behind an edge: power that rises by so much again is another load's
SLOWER = 1.3  # an exponential falls less from interval to interval; beyond it another load has ended
DRIFT = 0.05
CALIBRATED = 0.01  # what two seconds of fast readings leave open of a period, relatively
STALLED = 3.0  # usual intervals without a tick
USUAL_TICK_S = 0.1
LAG_OFF = 0.3  # of what a sensor still remembers of loads before the window: it is known roughly


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
    opens: bool
    """Whether the window lies behind it."""
    whole: bool
    """Whether the counter may be taken to see all of an interval; else the forecasts alone say what is where."""

    @property
    def left_s(self) -> float:
        """Seconds of the interval before the edge."""
        return min(max(self.at_s - self.span.start.t_s, 0.0), self.span.seconds)

    def divided(self) -> tuple[Amount, float]:
        """Joules of the interval behind the edge, and what the forecasts leave unexplained."""
        left, right = self.forecasts()
        if self.whole:
            return divide(self.span, left, right, together=self.dating != "brackets")
        inside = right if self.opens else left
        off_j = max(self.span.start.off_s, self.span.end.off_s) * inside.power_w
        joules = right.joules if self.opens else self.span.joules - left.joules
        return Amount(joules, inside.variance + off_j**2, right.power_w), 0.0

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
    lagged: Bounds | None
    """Its joules if what is counted behind it is the sensor's memory of it; `None` where nothing was seen behind it."""
    period_s: float
    drifted: bool
    """Whether the calibrated period did not hold."""
    stalled: bool
    lost: tuple[tuple[float, float], ...]
    """Intervals in which the counter went backwards: their joules are missing here."""


def counted(brackets: list[Bracket], t1_s: float, known: Known = NOTHING) -> Counted:
    """Joules between 0 and `t1_s`; `UnreadError` where a tick is missing on either side or a stall hides an edge."""
    period_s = known.counter_period_s
    usual = settled_period(brackets, period_s)
    start = edge_at(brackets, 0.0, (-math.inf, t1_s), usual, known)
    end = edge_at(brackets, t1_s, (0.0, math.inf), usual, known)
    behind, beyond0 = start.divided()
    rest, beyond1 = end.divided()
    inner = list(pairwise(brackets[start.index : end.index]))
    steps = [now.counter_j - then.counter_j for then, now in inner]
    whole_j = sum(step for step in steps if step >= 0)
    if start.index == end.index:  # both edges divide the same interval
        whole_j = -start.span.joules
    at_tick_j = whole_j + end.span.joules
    half_j = SIGMAS * math.sqrt(behind.variance + rest.variance) + beyond0 + beyond1 + 2 * QUANTUM_J
    sensed = Bounds.around(at_tick_j + behind.joules - rest.joules, half_j)
    return Counted(
        sensed,
        start,
        end,
        _lagged(at_tick_j, (start, end), sensed),
        usual.seconds,
        period_s is not None and usual.seconds != period_s,
        any(now.middle_s - then.middle_s > STALLED * usual.seconds for then, now in inner),
        tuple((then.middle_s, now.middle_s) for then, now in inner if now.counter_j < then.counter_j),
    )


def _lagged(at_tick_j: float, edges: tuple[Edge, Edge], sensed: Bounds) -> Bounds | None:
    """The window's joules if its sensor has a lag of first order: it shows P_s, and P = P_s + τ·dP_s/dt.

    So the window has what was counted up to the first tick behind it and what is remembered behind that, less what its
    sensor remembered of loads before. P_s has no step at an edge: the power before the start says how its interval is
    divided. Inside a load that goes on, what was sensed and τ times the rise of P_s says the same and may be surer.
    """
    start, end = edges
    if end.tail is None:
        return None
    tail, off_s = end.tail, max(end.span.start.off_s, end.span.end.off_s)
    before, start_off_s = start.forecasts()[0], max(start.span.start.off_s, start.span.end.off_s)
    found_j = tail.tau_s * (start.left.power_w - tail.base_w)
    variance = before.variance + (start_off_s * start.left.power_w) ** 2 + (LAG_OFF * found_j) ** 2
    variance += tail.remembered.variance + (off_s * tail.base_w) ** 2
    energy_j = at_tick_j + start.span.joules - before.joules + tail.remembered.joules - found_j
    by_memory = Bounds.around(energy_j, SIGMAS * math.sqrt(variance) + 2 * QUANTUM_J)
    risen_j = tail.tau_s * (end.left.power_w - start.left.power_w)
    off_j = tail.tau_s * math.hypot(start.left.off_w, end.left.off_w) + LAG_OFF * abs(risen_j)
    by_rise = Bounds.around(sensed.energy_j + risen_j, math.hypot(sensed.half_j, SIGMAS * off_j))
    return min(by_memory, by_rise, key=lambda bounds: bounds.half_j)


def settled_period(brackets: list[Bracket], known_s: float | None) -> Period:
    """The calibrated period as long as what is seen agrees with it; several ticks may merge between looks."""
    seen = period_of(brackets)
    if known_s is None:
        return seen or Period(USUAL_TICK_S, 1.0)
    if seen is None or abs(seen.seconds / max(1, round(seen.seconds / known_s)) / known_s - 1) < DRIFT:
        return Period(known_s, CALIBRATED)
    return seen


def edge_at(
    brackets: list[Bracket], at_s: float, limits: tuple[float, float], usual: Period, known: Known = NOTHING
) -> Edge:
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
    opens = limits[1] < math.inf
    tail = None if opens else fit_tail(_falling(spans, at_s, left.power_w), at_s, left, known.tail_s)
    whole = known.integrates is not False
    return Edge(at_s, first + turn, span, left, right, tail, dating, tuple(after), opens, whole)


def _falling(spans: list[Span], at_s: float, before_w: float) -> list[Span]:
    """The intervals behind an edge as long as power falls ever more slowly: what comes then is another load's doing."""
    kept: list[Span] = []
    fall_w = math.inf
    for span in spans:
        last_w = kept[-1].power_w if kept else math.inf
        noise_w = 3 * (span.off_j / span.seconds + STEADIEST * span.power_w)
        risen = span.power_w - last_w > RISEN * abs(before_w - last_w) + noise_w
        if span.end.t_s > at_s + TAIL_S or risen or last_w - span.power_w > SLOWER * fall_w + noise_w:
            break
        fall_w = max(last_w - span.power_w, 0.0)
        kept.append(span)
    return kept


def _divided(ticks: list[Tick], turn: int, usual: float) -> Span:
    if turn == 0:
        raise UnreadError("no tick of the energy counter is known from before the window (two hours are kept)")
    if turn == len(ticks):
        raise UnreadError("the energy counter did not advance after the window", "counter_stalled")
    span = Span(ticks[turn - 1], ticks[turn])
    if span.joules < 0:
        raise UnreadError("the energy counter went backwards at an edge of the window", "counter_reset")
    if span.seconds > max(STALL_S, STALLED * usual):
        raise UnreadError(f"the energy counter had no new value for {span.seconds:.1f} s", "counter_stalled")
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
