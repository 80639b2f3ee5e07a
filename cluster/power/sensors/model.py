"""CPU energy without a sensor: CPU seconds times watts per busy logical CPU. Modelled, never measured.

The model knows active CPU time alone. Power of an idle machine, of memory, fans and disks is not part of it: a task
that only sleeps is modelled with 0 J of active CPU, and that is said on the result.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, model_validator

from joulegrid.cluster.power.energy import Energy
from joulegrid.cluster.power.sensors.readings import Ring, ring_size
from joulegrid.cluster.power.sensors.series import Sample

CLOCK_PERIOD_S = 0.1
"""A process' CPU clock is read each 100 ms: the scheduler's own grain (1–4 ms) is then below 4 % of a step."""


class CoreWatts(BaseModel):
    """Watts of one busy logical CPU: a middle value and the two ends of the stated interval.

    Sources of the defaults: low 1.7 is Cloud Carbon Footprint's coefficient for AMD EPYC 2nd generation at full load
    (1.69 W/vCPU); mid 4.0 is CodeCarbon's fallback of 4 W a thread, close to Cloud Carbon Footprint's 3.97 W/vCPU for
    Cascade Lake; high is twice mid. None of them was measured on the machine at hand.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    low: float = Field(default=1.7, gt=0)
    """Watts at the lower end."""
    mid: float = Field(default=4.0, gt=0)
    """Watts of the stated value."""
    high: float = Field(default=8.0, gt=0)
    """Watts at the upper end."""

    @model_validator(mode="after")
    def _ordered(self) -> CoreWatts:
        if not self.low <= self.mid <= self.high:
            raise ValueError(f"watts per core must rise: low {self.low}, mid {self.mid}, high {self.high}")
        return self


def model_energy(cpu_s: float, watts: CoreWatts) -> Energy:
    """Model the joules of `cpu_s` seconds of busy logical CPU: `cpu_s` times low, mid and high watts.

    0 CPU seconds give 0.0 J, which is what the model says of active CPU and no more.
    """
    return Energy(
        energy_j=cpu_s * watts.mid,
        low_j=cpu_s * watts.low,
        high_j=cpu_s * watts.high,
        source="model",
        provenance="modelled",
        scope="cpu_package",
        interval=(
            f"{watts.low:g} to {watts.high:g} W per busy logical CPU around {watts.mid:g} W: published coefficients of "
            "other machines; active CPU time alone, idle power is not part of the model"
        ),
    )


def process_cpu_s(pid: int) -> float | None:
    """Read the CPU seconds of another process, all its threads, without its children; `None` once it is gone.

    One system call of nanosecond resolution: the clock id of process `pid` is `(~pid << 3) | 2`, as
    `clock_getcpuclockid(3)` makes it on Linux.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:  # EINVAL: no such process
        return None


@dataclass(frozen=True, slots=True)
class CpuReading:
    """CPU seconds of a process at an instant."""

    t_ns: int
    pid: int
    cpu_s: float


class CpuClocks:
    """The CPU clocks of the processes that the node's lanes run now, one a lane. Feeds the series, not the energy."""

    def __init__(self) -> None:
        self._pids: dict[str, int] = {}
        self._rings: dict[str, Ring[CpuReading]] = {}
        self._lock = threading.Lock()

    def watch(self, lane: str, pid: int) -> None:
        """Begin to read the clock of `pid` for `lane`; takes the place of the lane's former process."""
        with self._lock:
            self._pids[lane] = pid
            self._rings.setdefault(lane, Ring(ring_size(CLOCK_PERIOD_S)))
            self._read(lane, pid)

    def unwatch(self, lane: str) -> None:
        """Read the lane's clock a last time and stop. What was read stays until the ring forgets it."""
        with self._lock:
            pid = self._pids.pop(lane, None)
            if pid is not None:
                self._read(lane, pid)

    def watched(self) -> dict[str, int]:
        """Lane → process."""
        with self._lock:
            return dict(self._pids)

    def sample(self) -> None:
        """Read every watched clock once; a process that is gone is forgotten quietly."""
        with self._lock:
            gone = [lane for lane, pid in self._pids.items() if not self._read(lane, pid)]
            for lane in gone:
                del self._pids[lane]

    def series(self, lane: str, t0_ns: int, t1_ns: int, watts: CoreWatts) -> list[Sample]:
        """Modelled power of a lane: `mid` watts times CPU seconds per second, dated at the end of each step."""
        with self._lock:
            ring = self._rings.get(lane)
        if ring is None:
            return []
        readings = ring.between(t0_ns, t1_ns)
        return [
            Sample(
                after.t_ns, lane, watts.mid * (after.cpu_s - before.cpu_s) / step_s, "model", "modelled", "cpu_package"
            )
            for before, after in pairwise(readings)
            if after.pid == before.pid and (step_s := (after.t_ns - before.t_ns) / 1e9) > 0
        ]

    def _read(self, lane: str, pid: int) -> bool:
        before_ns = time.monotonic_ns()
        cpu_s = process_cpu_s(pid)
        if cpu_s is None:
            return False
        self._rings[lane].append(CpuReading((before_ns + time.monotonic_ns()) // 2, pid, cpu_s))
        return True
