"""A window's joules from everything that was read: which source is believed, how wide its interval is, and why.

The counter comes first. Instant power over the same window is its cross-check and never averaged with it. A counter
that contradicts instant power by more than edges, updates and aliasing explain is not believed, unless both agree
beside the window: then the load beats with the sensor, and the interval covers both figures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from joulegrid.cluster.power.energy import CrossCheck
from joulegrid.cluster.power.estimate.average import deconvolved
from joulegrid.cluster.power.estimate.counted import Counted, counted
from joulegrid.cluster.power.estimate.coverage import integrates
from joulegrid.cluster.power.estimate.doubt import (
    agree_beside,
    leapt,
    refuse_leaps,
    refuse_stalled_power,
    stands_still,
)
from joulegrid.cluster.power.estimate.integral import Integrated, Published, integrated, powers_of
from joulegrid.cluster.power.estimate.known import Bounds, Known
from joulegrid.cluster.power.estimate.lag import corrected, memory_of
from joulegrid.cluster.power.estimate.looks import MOST_W, brackets_of
from joulegrid.cluster.power.sensors.series import UnreadError

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Flag, Source
    from joulegrid.cluster.power.estimate.looks import Bracket
    from joulegrid.cluster.power.sensors.readings import Reading

SHORT_S = 10.0
SLOW_S = 0.4
GAP_S = 0.5
GAIN = 0.02
"""Counter and instant power come from one shunt; beyond this they are two opinions."""


@dataclass(slots=True)
class Answer:
    """A window's joules, the source that is believed, and what a reader must know."""

    bounds: Bounds
    source: Source
    words: str
    flags: set[Flag] = field(default_factory=set)
    check: CrossCheck | None = None
    proven: bool = False
    """Whether this window showed that the counter integrates all the time."""
    drifted: bool = False
    """Whether the counter ticked with another period than calibration had found."""
    log_odds: float = 0.0
    """What it showed of the tail: positive for a sensor's lag, negative for decay."""


def answer(readings: list[Reading], t0_ns: int, t1_ns: int, known: Known) -> Answer:
    """Joules between two instants; `readings` reach seconds beyond both. Raises `UnreadError` with every reason."""
    seen = _Seen(readings, t0_ns, t1_ns, known)
    second = _tried(seen)
    try:
        brackets = _brackets(seen)
        first = counted(brackets, seen.t1_s, known)
    except UnreadError as error:
        found = _fallback(seen, second, error)
    else:
        found = _checked(first, second, seen, brackets)
        if found.source == "counter":
            _widened(found, brackets, (first, second), seen)
    return _flagged(found, readings, (t0_ns, t1_ns))


def integral_answer(readings: list[Reading], t0_ns: int, t1_ns: int, known: Known, why: str) -> Answer:
    """Joules from instant power alone, `why` saying why not from the counter. Raises `UnreadError`."""
    seen = _Seen(readings, t0_ns, t1_ns, known)
    return _flagged(_fallback(seen, _tried(seen), UnreadError(why)), readings, (t0_ns, t1_ns))


@dataclass(slots=True)
class _Seen:
    """A window and all that was read around it."""

    readings: list[Reading]
    t0_ns: int
    t1_ns: int
    known: Known
    looks: list[Published] = field(init=False)

    def __post_init__(self) -> None:
        self.looks = powers_of(self.readings, self.t0_ns)

    @property
    def t1_s(self) -> float:
        """The window's end, counted from its start."""
        return (self.t1_ns - self.t0_ns) / 1e9


def _brackets(seen: _Seen) -> list[Bracket]:
    values = [reading.counter_j for reading in seen.readings if reading.counter_j is not None]
    if not values:
        raise UnreadError("the energy counter is not readable")
    if not any(values):
        raise UnreadError("the energy counter stays at zero")
    brackets = brackets_of(seen.readings, seen.t0_ns)
    refuse_leaps(brackets, seen.t1_s, seen.known.limit_w)
    return brackets


def _tried(seen: _Seen) -> Integrated | UnreadError:
    try:
        refuse_stalled_power(seen.readings, (seen.t0_ns, seen.t1_ns))
        return integrated(seen.looks, seen.t1_s, seen.known.power_period_s or seen.known.counter_period_s)
    except UnreadError as error:
        return error


def _fallback(seen: _Seen, integral: Integrated | UnreadError, why: UnreadError) -> Answer:
    flags: set[Flag] = {why.flag} if why.flag else set()
    if isinstance(integral, UnreadError):
        return _averaged(seen, integral, why)
    if stands_still(seen.looks, seen.t1_s):
        return _still(seen, integral, why)
    if integral.variation > 0.1:
        flags.add("aliasing")
    if integral.update_s >= SLOW_S:
        flags.add("slow_updates")
    return Answer(integral.bounds, "instant_integral", f"integral of instant power because {why}; {HELD}", flags)


def _still(seen: _Seen, integral: Integrated, why: UnreadError) -> Answer:
    """Power that never changed, and no counter: a steady board, or a sensor that has stopped. Nobody can tell."""
    if seen.known.worked:
        raise UnreadError(f"counter: {why}; power: it never changed though the GPU worked", "power_stalled")
    most_j = (seen.known.limit_w or MOST_W) * seen.t1_s
    bounds = replace(integral.bounds, low_j=0.0, high_j=max(most_j, integral.bounds.high_j))
    flags: set[Flag] = {"power_stalled"} | ({why.flag} if why.flag else set())
    return Answer(bounds, "instant_integral", f"integral of instant power because {why}; {STILL}", flags)


def _averaged(seen: _Seen, integral: UnreadError, why: UnreadError) -> Answer:
    readings = seen.readings
    averages = [Published((r.t_ns - seen.t0_ns) / 1e9, r.average_w) for r in readings if r.average_w is not None]
    try:
        if integral.flag == "power_stalled":  # the driver averages what has stalled
            raise integral
        bounds = deconvolved(averages, seen.t1_s, seen.known.average_s)
    except UnreadError as error:
        trouble = next((reading.trouble for reading in reversed(readings) if reading.trouble), None)
        reasons = [f"counter: {why}", f"power: {integral}", *([f"average: {error}"] if averages else [])]
        raise UnreadError("; ".join([*reasons, *([trouble] if trouble else [])])) from error
    flags: set[Flag] = {why.flag} if why.flag else set()
    return Answer(bounds, "average_deconvolved", f"{AVERAGED}, because {why}, and of instant power: {integral}", flags)


HELD = (
    "95 %: edges as old as one publication, and what a board misses that senses only a part of each publication "
    "interval, estimated from how much the published values vary"
)
STILL = "anything up to the power limit: the reading never changed, so it may have stopped"
AVERAGED = "95 %: the driver's running mean inverted over steps of its own length, forwards and backwards"
COUNTED = "95 %: when the counter ticked and how the power ran between tick and edge"


def _checked(first: Counted, second: Integrated | UnreadError, seen: _Seen, brackets: list[Bracket]) -> Answer:
    found = Answer(first.bounds, "counter", COUNTED, drifted=first.drifted)
    if first.drifted:
        found.flags.add("period_drifted")
        found.words += "; it ticked with another period than calibrated (`joulegrid power calibrate` finds the new one)"
    if first.stalled:
        found.flags.add("counter_stalled")
    if first.period_s >= SLOW_S:
        found.flags.add("slow_updates")
    if first.lost:
        found.flags.add("counter_reset")
        if isinstance(second, UnreadError):
            raise UnreadError("the energy counter went backwards")
        found.bounds = _refilled(first.bounds, first.lost, seen.looks)
        found.words += "; where the counter was reset, instant power"
    if isinstance(second, UnreadError):
        return found
    found.check = _compared("instant_integral", found.bounds, second.bounds)
    return found if found.check.agrees else _disputed(found, second, brackets, seen.t1_s)


def _compared(source: Source, bounds: Bounds, other: Bounds) -> CrossCheck:
    """How far two sources are apart, and how far they may be."""
    energy_j = bounds.energy_j
    apart = (energy_j - other.energy_j) / energy_j if energy_j > 0 else -1.0
    bound = (bounds.half_j + other.half_j) / max(energy_j, 1e-9) + GAIN
    return CrossCheck(source=source, energy_j=other.energy_j, disagreement=apart, bound=bound)


def _widened(
    found: Answer, brackets: list[Bracket], sources: tuple[Counted, Integrated | UnreadError], seen: _Seen
) -> None:
    """Allow for a tail that may belong to the window, and for a counter that may see a part of the time alone."""
    (first, second), known = sources, seen.known
    memory = memory_of(first, seen.t1_s)
    if memory is not None:
        found.bounds, undecided = corrected(found.bounds, memory, known.tail)
        found.log_odds = memory.log_odds
        found.flags |= {"tail_undecided"} if undecided else set()
    found.proven, varied = integrates(brackets, (1.5 * first.period_s, seen.t1_s), first.period_s)
    if found.proven or known.integrates or not (varied or known.integrates is False):
        return
    if isinstance(second, Integrated):
        half_j = math.hypot(found.bounds.half_j, second.missed_j)
        found.bounds = Bounds.around(found.bounds.energy_j, half_j)
    found.flags.add("counter_distrusted" if known.integrates is False else "aliasing")
    found.words += "; and what a counter misses that sees a part of each update alone: that it sees all is not proven"


def _disputed(found: Answer, second: Integrated, brackets: list[Bracket], t1_s: float) -> Answer:
    """Counter and instant power contradict each other: who is believed."""
    if not found.flags - {"period_drifted"} and agree_beside(brackets, t1_s) and not leapt(brackets, t1_s):
        low, high = min(found.bounds.low_j, second.bounds.low_j), max(found.bounds.high_j, second.bounds.high_j)
        found.flags.add("aliasing")
        words = f"{found.words}; and the integral of instant power, which differs"
        return replace(found, bounds=Bounds(found.bounds.energy_j, low, high), words=words)
    words = f"integral of instant power because the energy counter contradicts it; {HELD}"
    check = _compared("counter", second.bounds, found.bounds)
    return Answer(second.bounds, "instant_integral", words, found.flags | {"counter_distrusted"}, check)


def _refilled(bounds: Bounds, lost: tuple[tuple[float, float], ...], looks: list[Published]) -> Bounds:
    missing = 0.0
    for start, end in lost:
        near = [look.power_w for look in looks if start - 0.1 <= look.t_s <= end + 0.1]
        missing += (end - start) * (sum(near) / len(near) if near else 0.0)
    return Bounds.around(bounds.energy_j + missing, bounds.half_j + 1.5 * missing)  # from nothing to two intervals


def _flagged(found: Answer, readings: list[Reading], window: tuple[int, int]) -> Answer:
    t0_ns, t1_ns = window
    if t1_ns - t0_ns < SHORT_S * 1e9:
        found.flags.add("short")
    if any(
        now.t_ns - then.t_ns > GAP_S * 1e9 and now.t_ns > t0_ns and then.t_ns < t1_ns
        for then, now in pairwise(readings)
    ):
        found.flags.add("gap")
    return found
