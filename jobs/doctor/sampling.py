"""How well this machine's sensors are read: half a second of the sampling process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from joulegrid.cluster.power.sampler.recorder import Recorder
from joulegrid.cluster.power.sensors.rapl import POWERCAP
from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.jobs.doctor.finding import Finding, ok, warn

if TYPE_CHECKING:
    from pathlib import Path

LOOK_S = 0.5
NAME = "sampling"
SLOWER = 1.1


def sampling(powercap: Path = POWERCAP) -> list[Finding]:
    """The period that the sampling process reaches and the deadlines that it misses; nothing where it is not needed."""
    recorder = Recorder(PowerConfig(), powercap)
    try:
        recorder.start()
        if recorder.sampling_pid is None:
            return []
        before = recorder.describe()
        began_s = time.monotonic()
        time.sleep(LOOK_S)
        after, elapsed_s = recorder.describe(), time.monotonic() - began_s
    finally:
        recorder.stop()
    rounds, missed = (after[name] - before[name] for name in ("rounds", "missed_deadlines"))
    devices = f"{len(after['devices'])} devices"
    if not rounds:
        return [warn(NAME, f"{devices}: no reading in {elapsed_s:.1f} s", "does `nvidia-smi` answer quickly?")]
    period_ms, wanted_ms = 1e3 * elapsed_s / rounds, 1e3 * after["period_s"]
    words = (
        f"{devices} each {period_ms:.0f} ms (wanted {wanted_ms:.0f}), {missed} deadlines missed in {elapsed_s:.1f} s"
    )
    if missed or period_ms > SLOWER * wanted_ms:
        return [warn(NAME, words, "the machine is busy, or its driver slow: edges of windows become wider")]
    return [ok(NAME, words)]
