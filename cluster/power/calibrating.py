"""Calibrating a board: fast readings, then equal bursts of a load where there is one.

The load is a callable that computes `count` equal bursts and returns when the device has finished them; this module
neither knows nor imports what computes.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from joulegrid.cluster.power.bursts import Load
from joulegrid.cluster.power.calibration import Calibration, from_bursts, from_readings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from joulegrid.cluster.power.sensors.readings import Reading, Sensor

BUSY_S = 2.0
FAST_S, LOADED_S = 0.002, 0.005
"""Between two readings: while nothing runs, and while bursts do."""
REST_S = 1.5
COUNTS = (1, 8, 4, 16, 1, 2, 12, 6, 1, 16, 3, 8, 1, 5)
"""Bursts a load, in an order in which warming up does not look like a slope."""
SPREAD_S = 0.2
"""Rests differ by up to this, so that loads begin at every phase of a sensor's updates."""


def rests(counts: Sequence[int], rest_s: float) -> list[float]:
    """How long to rest before each load: spread evenly over the phases, by the golden ratio."""
    return [rest_s + SPREAD_S * (0.618 * turn % 1.0) for turn in range(len(counts))]


def calibrate(
    sensor: Sensor, load: Callable[[int], None] | None, counts: Sequence[int] = COUNTS, rest_s: float = REST_S
) -> Calibration:
    """Find out what can be known of a board; without a `load` periods and stamps alone."""
    idle: list[Reading] = []
    with _read(sensor, FAST_S, idle):
        time.sleep(BUSY_S)
    found = from_readings(sensor.device, idle)
    if load is None:
        return found
    loads: list[Load] = []
    readings: list[Reading] = []
    with _read(sensor, LOADED_S, readings):
        for count, pause_s in zip(counts, rests(counts, rest_s), strict=True):
            time.sleep(pause_s)
            t0_ns = time.monotonic_ns()
            load(count)
            loads.append(Load(count, t0_ns, time.monotonic_ns()))
        time.sleep(rest_s)
    return from_bursts(found, readings, loads)


@contextmanager
def _read(sensor: Sensor, each_s: float, readings: list[Reading]) -> Iterator[None]:
    """Read a sensor in a thread of its own for as long as the block lasts."""
    ending = threading.Event()

    def read() -> None:
        while not ending.wait(each_s):
            readings.append(sensor.read())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
