"""Calibrating the simulated boards as `joulegrid power calibrate` does a real one, on the real clock or a virtual one.

On the real clock: `python -m benchmarks.energy.calibrated '[500.0, …]'`, in the environment of the simulated library,
calibrates all boards at once with bursts of these watts, and keeps what it finds as the command does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from joulegrid.cluster.power.bursts import Load
from joulegrid.cluster.power.calibrating import BUSY_S, COUNTS, FAST_S, LOADED_S, REST_S, calibrate, rests
from joulegrid.cluster.power.calibration import Calibration, from_bursts, from_readings, remember
from tests.cluster.nvml_simulated.build import Control, uuid_of
from tests.cluster.nvml_simulated.loads import Hold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from benchmarks.energy.boards import Drawn
    from benchmarks.energy.virtual import Node
    from joulegrid.cluster.power.sensors.readings import Reading

S = 1_000_000_000
BURST_S = 0.05


def calibrated_really(peaks_w: Sequence[float]) -> None:
    """Calibrate every board that NVML shows with bursts of its watts, and keep what was found."""
    from joulegrid.cluster.power.sensors.nvml import close_sensors, open_sensors

    sensors, control = open_sensors(), Control(os.environ)
    try:
        with ThreadPoolExecutor(len(sensors)) as pool:
            loads = [_bursts(control, gpu, peak_w) for gpu, peak_w in enumerate(peaks_w)]
            for sensor, found in zip(sensors, pool.map(calibrate, sensors, loads), strict=True):
                facts = sensor.facts()
                remember(found.model_copy(update={"driver": facts.driver, "vbios": facts.vbios}))
    finally:
        close_sensors()


def _bursts(control: Control, gpu: int, peak_w: float) -> Callable[[int], None]:
    idle_w = control.power_w(gpu, time.monotonic_ns())

    def run(count: int) -> None:
        t0_ns = time.monotonic_ns() + S // 1000
        end_ns = control.play(gpu, t0_ns, [Hold(count * BURST_S, peak_w)], idle_w)
        time.sleep(max(0, end_ns - time.monotonic_ns()) / S)

    return run


def calibrated_virtually(node: Node, drawn: Sequence[Drawn], random: Random) -> tuple[dict[int, Calibration], int]:
    """Calibrate all boards at once; gives what was found, by board, and when it was over."""
    found, ends_ns = {}, []
    for gpu, board in enumerate(drawn):
        calibration, end_ns = _one(node, gpu, board, random)
        found[gpu] = calibration
        ends_ns.append(end_ns)
    return found, max(ends_ns)


def _one(node: Node, gpu: int, drawn: Drawn, random: Random) -> tuple[Calibration, int]:
    t_ns = node.start_ns + round(BUSY_S * S)
    idle = from_readings(uuid_of(gpu), _read(node, gpu, (node.start_ns, t_ns), FAST_S, random))
    loads, from_ns = [], t_ns
    for count, rest_s in zip(COUNTS, rests(COUNTS, REST_S), strict=True):
        t_ns += round(rest_s * S)
        end_ns = t_ns + round(count * BURST_S * S)
        node.control.step(gpu, t_ns, drawn.peak_w)
        node.control.step(gpu, end_ns, drawn.board.idle_w)
        loads.append(Load(count, t_ns, end_ns + round(random.uniform(0, 2e5))))
        t_ns = loads[-1].t1_ns
    t_ns += round(REST_S * S)
    return from_bursts(idle, _read(node, gpu, (from_ns, t_ns), LOADED_S, random), loads), t_ns


def _read(node: Node, gpu: int, span: tuple[int, int], each_s: float, random: Random) -> list[Reading]:
    """Read as a thread does that waits between two readings: always a little late."""
    readings, (t_ns, until_ns) = [], span
    while t_ns < until_ns:
        readings.append(node.read(gpu, t_ns))
        t_ns += round((each_s + abs(random.gauss(2e-4, 2e-4))) * S)
    return readings


if __name__ == "__main__":
    calibrated_really(json.loads(sys.argv[1]))
