"""Calibrating a board: fast readings, then equal bursts of a load where there is one.

The load is a callable that computes `count` equal bursts and returns when the device has finished them; this module
neither knows nor imports what computes.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from joulegrid.cluster.power.calibration import Burst, Calibration, counter_ratio, from_readings, tail_verdict
from joulegrid.cluster.power.estimate.counted import counted
from joulegrid.cluster.power.estimate.integral import integrated, powers_of
from joulegrid.cluster.power.estimate.looks import brackets_of
from joulegrid.cluster.power.sensors.series import UnreadError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from joulegrid.cluster.power.sensors.readings import Reading, Sensor

BUSY_S = 2.0
FAST_S = 0.002
REST_S = 1.5
COUNTS = (1, 8, 2, 16, 4, 12, 1, 6, 16, 3)
"""Bursts a window, in an order in which warming up does not look like a slope."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A window in which a load ran, and what was read around it."""

    count: int
    t0_ns: int
    t1_ns: int
    readings: list[Reading]


def read_busily(sensor: Sensor, seconds: float = BUSY_S) -> list[Reading]:
    """Read a sensor every 2 ms for some seconds."""
    readings, ends_s = [], time.monotonic() + seconds
    while time.monotonic() < ends_s:
        readings.append(sensor.read())
        time.sleep(FAST_S)
    return readings


def calibrate(
    sensor: Sensor, load: Callable[[int], None] | None, counts: Sequence[int] = COUNTS, rest_s: float = REST_S
) -> Calibration:
    """Find out what can be known of a board; without a `load` periods and stamps alone."""
    idle = from_readings(sensor.device, read_busily(sensor))
    if load is None:
        return idle
    windows = [_loaded(sensor, load, count, rest_s) for count in counts]
    moved = from_readings(sensor.device, list(chain.from_iterable(window.readings for window in windows)))
    bursts, ratios = [], []
    for window in windows:
        try:
            burst, ratio = _measured(window, idle.counter_period_s)
        except UnreadError:
            continue
        bursts.append(burst)
        ratios += [ratio] if window.count == max(counts) else []
    return idle.model_copy(
        update={
            "power_period_s": moved.power_period_s or idle.power_period_s,
            "average_s": moved.average_s,
            "tail": tail_verdict(bursts),
            "counter_ratio": counter_ratio(ratios),
        }
    )


def _loaded(sensor: Sensor, load: Callable[[int], None], count: int, rest_s: float) -> Loaded:
    """Read every 5 ms while a load runs in this thread, and before and after it."""
    readings: list[Reading] = []
    ending = threading.Event()

    def read() -> None:
        while not ending.wait(0.005):
            readings.append(sensor.read())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        time.sleep(rest_s)
        t0_ns = time.monotonic_ns()
        load(count)
        t1_ns = time.monotonic_ns()
        time.sleep(rest_s)
    finally:
        ending.set()
        thread.join()
    return Loaded(count, t0_ns, t1_ns, readings)


def _measured(window: Loaded, period_s: float | None) -> tuple[Burst, tuple[float, float]]:
    """Joules above idle between a window's edges and behind them; counter and integral of the whole."""
    seconds = (window.t1_ns - window.t0_ns) / 1e9
    first = counted(brackets_of(window.readings, window.t0_ns), seconds, period_s)
    second = integrated(powers_of(window.readings, window.t0_ns), seconds, period_s)
    above_j = first.bounds.energy_j - first.start.left.power_w * seconds
    tail_j = first.end.tail.excess.joules if first.end.tail else 0.0
    return Burst(window.count, above_j, tail_j), (first.bounds.energy_j, second.bounds.energy_j)
