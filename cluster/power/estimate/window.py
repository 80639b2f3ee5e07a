"""A window's joules from everything that was read: which source is believed, how wide its interval is, and why.

The counter comes first. Instant power over the same window is its cross-check and never averaged with it. A counter
that contradicts instant power by more than edges, updates and aliasing explain is not believed, unless both agree
beside the window: then the load beats with the sensor, and the interval covers both figures.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from joulegrid.cluster.power.energy import CrossCheck
from joulegrid.cluster.power.estimate.answer import Answer, Seen
from joulegrid.cluster.power.estimate.counted import Counted, counted
from joulegrid.cluster.power.estimate.coverage import divides, integrates
from joulegrid.cluster.power.estimate.doubt import (
    agree_beside,
    leapt,
    refuse_leaps,
    refuse_stalled_power,
)
from joulegrid.cluster.power.estimate.fallback import HELD, SLOW_S, instead
from joulegrid.cluster.power.estimate.integral import Integrated, Published, integrated
from joulegrid.cluster.power.estimate.known import Bounds, Known
from joulegrid.cluster.power.estimate.lag import corrected, memory_of
from joulegrid.cluster.power.estimate.looks import brackets_of
from joulegrid.cluster.power.sensors.series import UnreadError

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Source
    from joulegrid.cluster.power.estimate.looks import Bracket
    from joulegrid.cluster.power.sensors.readings import Reading

SHORT_S = 10.0
GAP_S = 0.5
GAIN = 0.02
"""Counter and instant power come from one shunt; beyond this they are two opinions."""


def answer(readings: list[Reading], t0_ns: int, t1_ns: int, known: Known) -> Answer:
    """Joules between two instants; `readings` reach seconds beyond both. Raises `UnreadError` with every reason."""
    seen = Seen(readings, t0_ns, t1_ns, known)
    second = _tried(seen)
    try:
        brackets = _brackets(seen)
        first = counted(brackets, seen.t1_s, known)
    except UnreadError as error:
        found = instead(seen, second, error)
    else:
        found = _checked(first, second, seen, brackets)
        if found.source == "counter":
            _widened(found, brackets, (first, second), seen)
    return _flagged(found, readings, (t0_ns, t1_ns))


def integral_answer(readings: list[Reading], t0_ns: int, t1_ns: int, known: Known, why: str) -> Answer:
    """Joules from instant power alone, `why` saying why not from the counter. Raises `UnreadError`."""
    seen = Seen(readings, t0_ns, t1_ns, known)
    return _flagged(instead(seen, _tried(seen), UnreadError(why)), readings, (t0_ns, t1_ns))


def _brackets(seen: Seen) -> list[Bracket]:
    values = [reading.counter_j for reading in seen.readings if reading.counter_j is not None]
    if not values:
        raise UnreadError("the energy counter is not readable")
    if not any(values):
        raise UnreadError("the energy counter stays at zero")
    brackets = brackets_of(seen.readings, seen.t0_ns)
    refuse_leaps(brackets, seen.t1_s, seen.known.limit_w)
    return brackets


def _tried(seen: Seen) -> Integrated | UnreadError:
    try:
        refuse_stalled_power(seen.readings, (seen.t0_ns, seen.t1_ns))
        return integrated(seen.looks, seen.t1_s, seen.known.power_period_s or seen.known.counter_period_s)
    except UnreadError as error:
        return error


COUNTED = "95 %: when the counter ticked and how the power ran between tick and edge"


def _checked(first: Counted, second: Integrated | UnreadError, seen: Seen, brackets: list[Bracket]) -> Answer:
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
    return found if found.check.agrees else _disputed(found, second, brackets, (seen.t1_s, first.period_s))


def _compared(source: Source, bounds: Bounds, other: Bounds) -> CrossCheck:
    """How far two sources are apart, and how far they may be."""
    energy_j = bounds.energy_j
    apart = (energy_j - other.energy_j) / energy_j if energy_j > 0 else -1.0
    bound = (bounds.half_j + other.half_j) / max(energy_j, 1e-9) + GAIN
    return CrossCheck(source=source, energy_j=other.energy_j, disagreement=apart, bound=bound)


def _widened(
    found: Answer, brackets: list[Bracket], sources: tuple[Counted, Integrated | UnreadError], seen: Seen
) -> None:
    """Allow for a tail that may belong to the window, and for a counter that may see a part of the time alone."""
    (first, second), known = sources, seen.known
    memory = memory_of(first, seen.t1_s)
    if memory is not None and not first.lost:
        found.bounds, undecided = corrected(found.bounds, memory, known.tail)
        found.log_odds = memory.log_odds
        found.flags |= {"tail_undecided"} if undecided else set()
    found.proven, varied = integrates(brackets, (1.5 * first.period_s, seen.t1_s), first.period_s)
    found.proven = found.proven or divides(first.start)
    seen_whole = found.proven if known.integrates is None else known.integrates
    if seen_whole or not (varied or known.integrates is False):
        return
    if isinstance(second, Integrated):
        half_j = math.hypot(found.bounds.half_j, second.missed_j)
        found.bounds = Bounds.around(found.bounds.energy_j, half_j)
    found.flags.add("counter_distrusted" if known.integrates is False else "aliasing")
    found.words += "; and what a counter misses that sees a part of each update alone: that it sees all is not proven"


def _disputed(found: Answer, second: Integrated, brackets: list[Bracket], beat: tuple[float, float]) -> Answer:
    """Counter and instant power contradict each other: who is believed. `beat`: end of the window, counter's period."""
    sound = not found.flags - {"period_drifted"}
    if sound and agree_beside(brackets, *beat) and not leapt(brackets, *beat):
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
