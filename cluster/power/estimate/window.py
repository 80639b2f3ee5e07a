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
from joulegrid.cluster.power.estimate.integral import Integrated, Published, integrated, powers_of
from joulegrid.cluster.power.estimate.known import Bounds, Known
from joulegrid.cluster.power.estimate.lag import corrected, memory_of
from joulegrid.cluster.power.estimate.looks import brackets_of
from joulegrid.cluster.power.sensors.series import UnreadError

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Flag, Source
    from joulegrid.cluster.power.estimate.looks import Bracket
    from joulegrid.cluster.power.sensors.readings import Reading

SHORT_S = 10.0
SLOW_S = 0.4
GAP_S = 0.5
BESIDE = 0.05
LEAST_BESIDE = 5
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
    t1_s = (t1_ns - t0_ns) / 1e9
    looks = powers_of(readings, t0_ns)
    second = _tried(looks, t1_s, known)
    try:
        brackets = _brackets(readings, t0_ns)
        first = counted(brackets, t1_s, known.counter_period_s)
    except UnreadError as error:
        found = _fallback(readings, (t0_ns, t1_s), (second, looks), known, str(error))
    else:
        found = _checked(first, second, looks, brackets)
        if found.source == "counter":
            _widened(found, (brackets, t1_s), (first, second), known)
    return _flagged(found, readings, (t0_ns, t1_ns))


def integral_answer(readings: list[Reading], t0_ns: int, t1_ns: int, known: Known, why: str) -> Answer:
    """Joules from instant power alone, `why` saying why not from the counter. Raises `UnreadError`."""
    t1_s = (t1_ns - t0_ns) / 1e9
    looks = powers_of(readings, t0_ns)
    found = _fallback(readings, (t0_ns, t1_s), (_tried(looks, t1_s, known), looks), known, why)
    return _flagged(found, readings, (t0_ns, t1_ns))


def _brackets(readings: list[Reading], t0_ns: int) -> list[Bracket]:
    values = [reading.counter_j for reading in readings if reading.counter_j is not None]
    if not values:
        raise UnreadError("the energy counter is not readable")
    if not any(values):
        raise UnreadError("the energy counter stays at zero")
    return brackets_of(readings, t0_ns)


def _tried(looks: list[Published], t1_s: float, known: Known) -> Integrated | UnreadError:
    try:
        return integrated(looks, t1_s, known.power_period_s or known.counter_period_s)
    except UnreadError as error:
        return error


def _fallback(
    readings: list[Reading],
    window: tuple[int, float],
    second: tuple[Integrated | UnreadError, list[Published]],
    known: Known,
    why: str,
) -> Answer:
    (t0_ns, t1_s), (integral, _) = window, second
    flags: set[Flag] = set()
    if "went backwards" in why:
        flags.add("counter_reset")
    if "no new value" in why or "did not advance" in why:
        flags.add("counter_stalled")
    if isinstance(integral, Integrated):
        if integral.variation > 0.1:
            flags.add("aliasing")
        if integral.update_s >= SLOW_S:
            flags.add("slow_updates")
        return Answer(integral.bounds, "instant_integral", f"integral of instant power because {why}; {HELD}", flags)
    averages = [Published((r.t_ns - t0_ns) / 1e9, r.average_w) for r in readings if r.average_w is not None]
    try:
        bounds = deconvolved(averages, t1_s, known.average_s)
    except UnreadError as error:
        trouble = next((reading.trouble for reading in reversed(readings) if reading.trouble), None)
        reasons = [f"counter: {why}", f"power: {integral}", *([f"average: {error}"] if averages else [])]
        raise UnreadError("; ".join([*reasons, *([trouble] if trouble else [])])) from error
    return Answer(bounds, "average_deconvolved", f"{AVERAGED}, because {why}, and of instant power: {integral}", flags)


HELD = (
    "95 %: edges as old as one publication, and what a board misses that senses only a part of each publication "
    "interval, estimated from how much the published values vary"
)
AVERAGED = "95 %: the driver's running mean inverted over steps of its own length, forwards and backwards"
COUNTED = "95 %: when the counter ticked and how the power ran between tick and edge"


def _checked(
    first: Counted, second: Integrated | UnreadError, looks: list[Published], brackets: list[Bracket]
) -> Answer:
    found = Answer(first.bounds, "counter", COUNTED, drifted=first.drifted)
    if first.drifted:
        found.words += "; it ticked with another period than calibrated (`joulegrid power calibrate` finds the new one)"
    if first.stalled:
        found.flags.add("counter_stalled")
    if first.period_s >= SLOW_S:
        found.flags.add("slow_updates")
    if first.lost:
        found.flags.add("counter_reset")
        if isinstance(second, UnreadError):
            raise UnreadError("the energy counter went backwards")
        found.bounds = _refilled(first.bounds, first.lost, looks)
        found.words += "; where the counter was reset, instant power"
    if isinstance(second, UnreadError):
        return found
    energy_j, other_j = found.bounds.energy_j, second.bounds.energy_j
    apart = (energy_j - other_j) / energy_j if energy_j > 0 else -1.0
    bound = (found.bounds.half_j + second.bounds.half_j) / max(energy_j, 1e-9) + GAIN
    found.check = CrossCheck(source="instant_integral", energy_j=other_j, disagreement=apart, bound=bound)
    return found if found.check.agrees else _disputed(found, second, looks, brackets)


def _widened(
    found: Answer,
    window: tuple[list[Bracket], float],
    sources: tuple[Counted, Integrated | UnreadError],
    known: Known,
) -> None:
    """Allow for a tail that may belong to the window, and for a counter that may see a part of the time alone."""
    (brackets, t1_s), (first, second) = window, sources
    memory = memory_of(first, t1_s)
    if memory is not None:
        found.bounds, undecided = corrected(found.bounds, memory, known.tail)
        found.log_odds = memory.log_odds
        found.flags |= {"tail_undecided"} if undecided else set()
    found.proven, varied = integrates(brackets, (1.5 * first.period_s, t1_s), first.period_s)
    if found.proven or known.integrates or not (varied or known.integrates is False):
        return
    if isinstance(second, Integrated):
        half_j = math.hypot(found.bounds.half_j, second.missed_j)
        found.bounds = Bounds.around(found.bounds.energy_j, half_j)
    found.flags.add("counter_distrusted" if known.integrates is False else "aliasing")
    found.words += "; and what a counter misses that sees a part of each update alone: that it sees all is not proven"


def _disputed(found: Answer, second: Integrated, looks: list[Published], brackets: list[Bracket]) -> Answer:
    """Counter and instant power contradict each other: who is believed."""
    if found.bounds.energy_j > 0 and not found.flags and _agree_beside(brackets, looks):
        low, high = (f(found.bounds.energy_j, second.bounds.energy_j) for f in (min, max))
        bounds = replace(found.bounds, low_j=min(low, found.bounds.low_j), high_j=max(high, found.bounds.high_j))
        found.flags.add("aliasing")
        return replace(found, bounds=bounds, words=f"{found.words}; and the integral of instant power, which differs")
    check = CrossCheck(
        source="counter",
        energy_j=found.bounds.energy_j,
        disagreement=1 - found.bounds.energy_j / second.bounds.energy_j,
        bound=(found.bounds.half_j + second.bounds.half_j) / second.bounds.energy_j + GAIN,
    )
    words = f"integral of instant power because the energy counter contradicts it; {HELD}"
    return Answer(second.bounds, "instant_integral", words, found.flags | {"counter_distrusted"}, check)


def _agree_beside(brackets: list[Bracket], looks: list[Published]) -> bool:
    """Whether counter and instant power show the same watts in the seconds before the window."""
    ticks = [bracket for bracket in brackets if bracket.high_s < 0.0]
    if len(ticks) < LEAST_BESIDE:
        return False
    start, end = ticks[0], ticks[-1]
    powers = [look.power_w for look in looks if start.middle_s < look.t_s <= end.high_s]
    if not powers:
        return False
    counted_w = (end.counter_j - start.counter_j) / (end.middle_s - start.middle_s)
    return abs(counted_w * len(powers) / sum(powers) - 1) <= BESIDE if sum(powers) > 0 else False


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
