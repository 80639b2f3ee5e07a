"""A window's joules where the counter gives none: instant power, else the driver's mean, else every reason."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from joulegrid.cluster.power.estimate.answer import Answer, Seen
from joulegrid.cluster.power.estimate.average import deconvolved
from joulegrid.cluster.power.estimate.doubt import stands_still
from joulegrid.cluster.power.estimate.integral import Integrated, Published
from joulegrid.cluster.power.estimate.looks import MOST_W
from joulegrid.cluster.power.sensors.series import UnreadError

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Flag

SLOW_S = 0.4
HELD = (
    "95 %: edges as old as one publication, and what a board misses that senses only a part of each publication "
    "interval, estimated from how much the published values vary"
)
STILL = "anything up to the power limit: the reading never changed, so it may have stopped"
AVERAGED = "95 %: the driver's running mean inverted over steps of its own length, forwards and backwards"


def instead(seen: Seen, integral: Integrated | UnreadError, why: UnreadError) -> Answer:
    """Answer without the counter, `why` saying why. Raises `UnreadError` where nothing else answers."""
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


def _still(seen: Seen, integral: Integrated, why: UnreadError) -> Answer:
    """Power that never changed, and no counter: a steady board, or a sensor that has stopped. Nobody can tell."""
    if seen.known.worked:
        raise UnreadError(f"counter: {why}; power: it never changed though the GPU worked", "power_stalled")
    most_j = (seen.known.limit_w or MOST_W) * seen.t1_s
    bounds = replace(integral.bounds, low_j=0.0, high_j=max(most_j, integral.bounds.high_j))
    flags: set[Flag] = {"power_stalled"}
    if why.flag:
        flags.add(why.flag)
    return Answer(bounds, "instant_integral", f"integral of instant power because {why}; {STILL}", flags)


def _averaged(seen: Seen, integral: UnreadError, why: UnreadError) -> Answer:
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
