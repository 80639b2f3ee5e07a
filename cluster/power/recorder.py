"""The recorder: one thread that reads a node's power sensors at fixed deadlines and answers for windows.

Plain Python, no Ray: `joulegrid.actors.sampler` puts it on a node. It stamps no marks; windows come with the times
that the measured process took itself, on the same monotonic clock.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from joulegrid.cluster.power.board import CONDITION_PERIOD_NS
from joulegrid.cluster.power.energy import Energy, total, unknown
from joulegrid.cluster.power.model import CLOCK_PERIOD_S, CpuClocks, model_energy
from joulegrid.cluster.power.nvml import close_sensors
from joulegrid.cluster.power.rapl import POWERCAP
from joulegrid.cluster.power.sources import PowerConfig, choose
from joulegrid.errors import JoulegridError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from joulegrid.cluster.power.board import Board
    from joulegrid.cluster.power.series import Device, Sample
    from joulegrid.jsontypes import Json

JOIN_S = 5.0
PAUSE_NS = 1_000_000  # a deadline that is less than 1 ms away is not worth a system call


@dataclass(frozen=True, slots=True)
class Target:
    """What one lane owns."""

    gpu_uuids: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    pid: int | None = None


class Recorder:
    """Records a node's power from `start` to `stop` and says how many joules a lane used between two instants.

    `energy`, `series`, `watch` and `unwatch` may be called from any thread. Raises `PreFlightError` if an explicit
    source of `config` is missing here. `powercap` is the folder of the RAPL files.
    """

    def __init__(self, config: PowerConfig, powercap: Path = POWERCAP) -> None:
        self.config = config
        self.missed_deadlines = 0
        self._sources = choose(config, powercap)
        self._devices: dict[str, Device] = self._sources.devices()
        self._sensors = self._sources.sensors()
        self._sample_devices()  # so that `sources` says what the boards really give
        self.sources: list[str] = [str(name) for name in self._sources.names()]
        self._clocks = CpuClocks()
        self._sampled = threading.Condition()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read; returns when every sensor was seen to move, at the latest after about 0.75 s."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._loop, name="power-recorder", daemon=True)
        self._thread.start()
        self._await(list(self._devices.values()), time.monotonic_ns())

    def stop(self) -> None:
        """Stop reading and close NVML. Windows of the past can still be asked for."""
        if self._ending.is_set():
            return
        self._ending.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)
        hangs = self._thread is not None and self._thread.is_alive()
        if self._sources.boards and not hangs:  # a driver call that hangs must not be shut down under its feet
            close_sensors()

    def watch(self, lane: str, pid: int) -> None:
        """Begin to read the CPU clock of the lane's process for the modelled power series."""
        if self._sources.watts is not None:
            self._clocks.watch(lane, pid)

    def unwatch(self, lane: str) -> None:
        """Stop reading the lane's CPU clock; what was read can still be asked for."""
        self._clocks.unwatch(lane)

    def energy(self, t0_ns: int, t1_ns: int, target: Target, cpu_s: float) -> tuple[Energy, list[Energy]]:
        """Joules of a lane between two instants: of its main devices, and of others beside them.

        Main are the GPU boards where the lane has any, else the CPU. Beside are, each by itself, the CPU of a GPU
        lane and memory domains. `cpu_s` is the CPU time of the task between its marks, for the model. Waits for the
        ticks after `t1_ns`, usually 0.4 s. What is unknown is null with its reason.
        """
        if self.config.source == "none":
            return unknown("power: none"), []
        if t1_ns <= t0_ns:
            return unknown(f"the window is empty: it ends {t0_ns - t1_ns} ns before it starts"), []
        boards = [self._sources.boards[uuid] for uuid in target.gpu_uuids if uuid in self._sources.boards]
        self._await([*boards, *self._sources.packages, *self._sources.drams], t1_ns)
        cpu = self._cpu_energy(t0_ns, t1_ns, cpu_s)
        beside = self._dram_energy(t0_ns, t1_ns)
        if not target.gpu_uuids:
            return cpu, beside
        return self._gpu_energy(t0_ns, t1_ns, target.gpu_uuids), [cpu, *beside]

    def series(self, t0_ns: int, t1_ns: int, target: Target, lane: str) -> list[Sample]:
        """Power of a lane's devices between two instants, in order of time; empty where nothing is read."""
        devices: list[Device] = [self._sources.boards[u] for u in target.gpu_uuids if u in self._sources.boards]
        devices += [*self._sources.packages, *self._sources.drams]
        samples = [sample for device in devices for sample in device.series(t0_ns, t1_ns)]
        if self._sources.watts is not None:
            samples += self._clocks.series(lane, t0_ns, t1_ns, self._sources.watts)
        return sorted(samples, key=lambda sample: (sample.t_ns, sample.device))

    def describe(self) -> dict[str, Json]:
        """What is read here, how often, what is missing and why, and how many deadlines were missed."""
        boards = self._sources.boards
        return {
            "sources": list(self.sources),
            "missing": dict(self._sources.missing),
            "devices": [
                {"device": d.device, "scope": d.scope, "name": boards[d.device].name if d.device in boards else None}
                for d in self._devices.values()
            ],
            "period_s": self.config.period_s,
            "missed_deadlines": self.missed_deadlines,
            "watched": dict(self._clocks.watched()),
        }

    def _gpu_energy(self, t0_ns: int, t1_ns: int, uuids: Sequence[str]) -> Energy:
        boards: list[Board] = []
        for uuid in uuids:
            if uuid not in self._sources.boards:
                return unknown(self._no_board(uuid), device=uuid, scope="gpu_board")
            boards.append(self._sources.boards[uuid])
        parts = [board.energy(t0_ns, t1_ns) for board in boards]
        if len({part.source for part in parts if part.source}) > 1:
            # One board without a counter: all are integrated, because different kinds have no sum.
            parts = [board.integral(t0_ns, t1_ns, "another board of the lane has no counter") for board in boards]
        return total(parts)

    def _no_board(self, uuid: str) -> str:
        if "nvml" in self._sources.missing:
            return self._sources.missing["nvml"]
        known = ", ".join(self._sources.boards)
        hint = "; a MIG slice has no power sensor of its own" if uuid.startswith("MIG-") else ""
        return f"NVML sees no GPU {uuid} on this node (it sees {known}){hint}"

    def _cpu_energy(self, t0_ns: int, t1_ns: int, cpu_s: float) -> Energy:
        if self._sources.packages:
            return total([package.energy(t0_ns, t1_ns) for package in self._sources.packages])
        if self._sources.watts is not None:
            return model_energy(cpu_s, self._sources.watts)
        return unknown(f"power: {self.config.source} does not read CPUs", scope="cpu_package")

    def _dram_energy(self, t0_ns: int, t1_ns: int) -> list[Energy]:
        drams = self._sources.drams
        return [total([dram.energy(t0_ns, t1_ns) for dram in drams])] if drams else []

    def _await(self, devices: Sequence[Device], t_ns: int) -> None:
        """Wait until every device has read past `t_ns`, no longer than the slowest is patient."""
        if self._thread is None or self._ending.is_set():
            return
        if not self._thread.is_alive():
            raise JoulegridError("the power recorder's thread has died; its traceback is on the sampler's stderr")
        patience_s = max((device.patience_s(self.config.period_s) for device in devices), default=0.0)
        late_s = max(0, time.monotonic_ns() - t_ns) / 1e9
        with self._sampled:
            self._sampled.wait_for(lambda: all(device.covers(t_ns) for device in devices), patience_s - late_s)

    def _loop(self) -> None:
        start_ns, period_ns = time.monotonic_ns(), round(self.config.period_s * 1e9)
        clocks_due_ns, turn = start_ns, 0
        while not self._ending.is_set():
            self._sample_devices()
            if time.monotonic_ns() >= clocks_due_ns - PAUSE_NS:
                self._clocks.sample()
                clocks_due_ns += round(CLOCK_PERIOD_S * 1e9)
            with self._sampled:
                self._sampled.notify_all()
            # Deadlines are start + k × period: lateness does not add up, a missed one is counted and left out.
            now_ns = time.monotonic_ns()
            following = max(turn + 1, (now_ns - start_ns) // period_ns + 1)
            self.missed_deadlines += following - turn - 1
            turn = following
            self._ending.wait((start_ns + turn * period_ns - now_ns) / 1e9)

    def _sample_devices(self) -> None:
        for sensor in self._sensors:
            self._devices[sensor.device].append(sensor.read())
        for board_sensor in self._sources.board_sensors:
            conditions = self._sources.boards[board_sensor.device].conditions
            last, now_ns = conditions.last(), time.monotonic_ns()
            if last is None or now_ns - last.t_ns >= CONDITION_PERIOD_NS:
                conditions.append(board_sensor.condition(now_ns))
