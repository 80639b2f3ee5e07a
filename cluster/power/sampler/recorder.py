"""The recorder: keeps what the sampling process reads of a node, and answers for windows.

Plain Python, no Ray: `joulegrid.actors.sampler` puts it on a node, `joulegrid.meter` into any process. It stamps no
marks; windows come with the times that the measured process took itself, on the same monotonic clock. It calls no
driver: what hangs, hangs in the sampling process (`joulegrid.cluster.power.sampler.sampling`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from joulegrid.cluster.power.energy import Energy, Flag, total, unknown
from joulegrid.cluster.power.sampler.feed import START_LIMIT_S, Feed, order_for
from joulegrid.cluster.power.sampler.frames import Hello
from joulegrid.cluster.power.sampler.intake import Intake
from joulegrid.cluster.power.sampler.replay import Replay, simulated
from joulegrid.cluster.power.sampler.trace import Trace, traced
from joulegrid.cluster.power.sensors.conditions import AROUND_NS, Conditions, Read, conditions_of
from joulegrid.cluster.power.sensors.model import model_energy
from joulegrid.cluster.power.sensors.rapl import POWERCAP
from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.errors import JoulegridError, PreFlightError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joulegrid.cluster.power.sensors.board import Board
    from joulegrid.cluster.power.sensors.series import Device, Sample
    from joulegrid.jsontypes import Json

RESTART_S = 2.0
"""How much longer a window's answer waits while the sampling process is being started again."""


@dataclass(frozen=True, slots=True)
class Target:
    """What one lane owns."""

    gpu_uuids: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    pid: int | None = None


class Recorder:
    """Records a node's power from `start` to `stop` and says how many joules a lane used between two instants.

    `energy`, `series`, `conditions`, `watch` and `unwatch` may be called from any thread. Raises `PreFlightError` if an
    explicit source of `config` is missing here. `powercap` is the folder of the RAPL files.
    """

    def __init__(self, config: PowerConfig, powercap: Path = POWERCAP) -> None:
        self.config = config
        self._intake = Intake(config)
        self._started = self._stopped = False
        self._feed: Feed | Replay = (
            Feed(order_for(config.source, config.period_s, powercap), self._intake)
            if config.trace is None
            else Replay(Path(config.trace), self._intake)
        )
        self._feed.start()
        self._await_opening()
        self._sources = self._intake.sources
        tools = [config.source] if self._sources.tool_boards else []
        self.sources: list[str] = [*(str(name) for name in self._sources.names()), *tools]

    @property
    def marks(self) -> str:
        """Abstract Unix address to which a process sends its marks (`joulegrid.cluster.power.sampler.marks`)."""
        return self._feed.order.marks

    @property
    def sampling_pid(self) -> int | None:
        """Process id of the sampling process; `None` where there is none."""
        return self._feed.pid

    @property
    def missed_deadlines(self) -> int:
        """Readings that were due and left out, since the beginning."""
        return self._intake.missed_deadlines

    @property
    def gpu_uuids(self) -> tuple[str, ...]:
        """Every GPU that is read, in NVML's order."""
        return tuple(self._sources.boards)

    def start(self) -> None:
        """Begin to answer; returns when every sensor was seen to move, at the latest after about 0.75 s."""
        if not self._started:
            self._started = True
            self._await(list(self._intake.devices.values()), time.monotonic_ns())

    def stop(self) -> None:
        """End the sampling process. Windows of the past can still be asked for."""
        self._stopped = True
        self._feed.stop()

    def watch(self, lane: str, pid: int) -> None:
        """Begin to read the CPU clock of the lane's process for the modelled power series."""
        if self._sources.watts is not None:
            self._intake.clocks.watch(lane, pid)

    def unwatch(self, lane: str) -> None:
        """Stop reading the lane's CPU clock; what was read can still be asked for."""
        self._intake.clocks.unwatch(lane)

    def energy(self, t0_ns: int, t1_ns: int, target: Target, cpu_s: float) -> tuple[Energy, list[Energy]]:
        """Joules of a lane between two instants: of its main devices, and of others beside them.

        Main are the GPU boards where the lane has any, else the CPU. Beside are, each by itself, the CPU of a GPU
        lane and memory domains. `cpu_s` is the CPU time of the task between its marks, for the model. Waits for the
        ticks after `t1_ns`, usually 0.4 s. What is unknown is null with its reason.
        """
        energy, beside = self._energy(t0_ns, t1_ns, self._resolved(target), cpu_s)
        if self.config.source != "replay":
            return energy, beside
        return simulated(energy), [simulated(one) for one in beside]

    def _energy(self, t0_ns: int, t1_ns: int, target: Target, cpu_s: float) -> tuple[Energy, list[Energy]]:
        if self.config.source == "none":
            return unknown("power: none"), []
        if t1_ns <= t0_ns:
            return unknown(f"the window is empty: it ends {t0_ns - t1_ns} ns before it starts"), []
        boards = [self._sources.boards[uuid] for uuid in target.gpu_uuids if uuid in self._sources.boards]
        tools = [self._sources.tool_boards[uuid] for uuid in target.gpu_uuids if uuid in self._sources.tool_boards]
        self._await([*boards, *tools, *self._sources.packages, *self._sources.drams], t1_ns)
        cpu = self._cpu_energy(t0_ns, t1_ns, cpu_s)
        beside = self._dram_energy(t0_ns, t1_ns)
        if not target.gpu_uuids:
            return cpu, beside
        main = self._gpu_energy(t0_ns, t1_ns, target.gpu_uuids)
        if self.config.source == "replay" and not self._sources.packages:
            return main, beside  # nobody expects a CPU of a trace that has none
        return main, [cpu, *beside]

    def lost(self, t0_ns: int, t1_ns: int) -> str | None:
        """Why readings between two instants are missing, if through a death of the sampling process."""
        outage = self._feed.outage(t0_ns, t1_ns)
        return None if outage is None or outage.hung else outage.why

    def conditions(self, t0_ns: int, t1_ns: int, target: Target) -> list[Conditions]:
        """What each GPU of a lane was like between two instants; empty without NVML."""
        uuids = self._resolved(target).gpu_uuids
        boards = [self._sources.boards[uuid] for uuid in uuids if uuid in self._sources.boards]
        return [self._conditions(board, t0_ns, t1_ns) for board in boards]

    def series(self, t0_ns: int, t1_ns: int, target: Target, lane: str) -> list[Sample]:
        """Power of a lane's devices between two instants, in order of time; empty where nothing is read."""
        uuids = self._resolved(target).gpu_uuids
        devices: list[Device] = [self._sources.boards[uuid] for uuid in uuids if uuid in self._sources.boards]
        devices += [*self._sources.packages, *self._sources.drams]
        samples = [sample for device in devices for sample in device.series(t0_ns, t1_ns)]
        if self._sources.watts is not None:
            samples += self._intake.clocks.series(lane, t0_ns, t1_ns, self._sources.watts)
        samples.sort(key=lambda sample: (sample.t_ns, sample.device))
        replayed = self.config.source == "replay"
        return [replace(sample, provenance="simulated") for sample in samples] if replayed else samples

    def _resolved(self, target: Target) -> Target:
        """In a replay a lane has its own boards if the trace has them, else the first: as many as its GPUs, or one."""
        own = bool(target.gpu_uuids) and set(target.gpu_uuids) <= set(self.gpu_uuids)
        if self.config.source != "replay" or own:
            return target
        return replace(target, gpu_uuids=self.gpu_uuids[: max(1, len(target.gpu_uuids))])

    def describe(self) -> dict[str, Json]:
        """What is read here, how often, what is missing and why, and how many deadlines were missed."""
        boards = self._sources.boards | self._sources.tool_boards
        return {
            "sources": list(self.sources),
            "missing": dict(self._sources.missing),
            "devices": [
                {"device": d.device, "scope": d.scope, "name": boards[d.device].name if d.device in boards else None}
                for d in self._intake.devices.values()
            ],
            "period_s": self.config.period_s,
            "missed_deadlines": self._intake.missed_deadlines,
            "rounds": self._intake.rounds,
            "sampling_pid": self._feed.pid,
            "outages": [{"from_ns": o.from_ns, "until_ns": o.until_ns, "why": o.why} for o in list(self._feed.outages)],
            "watched": dict(self._intake.clocks.watched()),
        }

    def trace(self, t0_ns: int, t1_ns: int, about: dict[str, Json]) -> Trace:
        """Everything that was read between two instants, at most the last two hours."""
        found = {device.device: device.readings(t0_ns, t1_ns) for device in self._intake.devices.values()}
        conditions = {board.device: board.conditions.between(t0_ns, t1_ns) for board in self._sources.boards.values()}
        provenance = "simulated" if self.config.source == "replay" else "measured"
        return Trace(provenance, self.config.period_s, self._intake.hello, *traced(found, conditions), about)

    def _await_opening(self) -> None:
        intake = self._intake
        with intake.sampled:
            intake.sampled.wait_for(lambda: intake.is_open or intake.refusal is not None, START_LIMIT_S)
        if intake.is_open:
            return
        why = intake.refusal or f"the sampling process did not begin to read within {START_LIMIT_S:.0f} s"
        if self.config.source != "auto":
            self._feed.stop()
            raise PreFlightError(why if why.startswith("power ") else f"power source {self.config.source}: {why}")
        intake.opened(Hello(missing={"nvml": why, "rapl": why}))

    def _gpu_energy(self, t0_ns: int, t1_ns: int, uuids: Sequence[str]) -> Energy:
        tools = self._sources.tool_boards
        if tools and all(uuid in tools for uuid in uuids):
            return total([tools[uuid].energy(t0_ns, t1_ns) for uuid in uuids])
        boards: list[Board] = []
        for uuid in uuids:
            if uuid not in self._sources.boards:
                return unknown(self._no_board(uuid), device=uuid, scope="gpu_board")
            boards.append(self._sources.boards[uuid])
        parts = [board.energy(t0_ns, t1_ns) for board in boards]
        if len({part.source for part in parts if part.source}) > 1:
            # One board without a counter: all are integrated, because different kinds have no sum.
            parts = [board.integral(t0_ns, t1_ns, "another board of the lane has no counter") for board in boards]
        pairs = zip(parts, boards, strict=True)
        return total([self._told(part, board, t0_ns, t1_ns) for part, board in pairs])

    def _told(self, energy: Energy, board: Board, t0_ns: int, t1_ns: int) -> Energy:
        """Add to an energy what its conditions say of it, and to an unknown one why nothing was read."""
        if energy.energy_j is None:
            outage = self._feed.outage(t0_ns, t1_ns)
            reason = energy.reason if outage is None else f"{outage.why}; {energy.reason}"
            return energy.model_copy(update={"reason": reason})
        conditions = self._conditions(board, t0_ns, t1_ns)
        flags: set[Flag] = set(energy.flags)
        flags |= {"throttled"} if conditions.throttled else set()
        return energy.model_copy(update={"flags": tuple(sorted(flags))})

    def _conditions(self, board: Board, t0_ns: int, t1_ns: int) -> Conditions:
        times = [reading.t_ns for reading in board.readings(t0_ns, t1_ns)]
        edges = [t0_ns, *times, t1_ns]
        gap_s = max(after - before for before, after in pairwise(edges)) / 1e9
        missed = self._intake.missed_between(t0_ns, t1_ns)
        read = Read(power_readings=len(times), longest_gap_s=gap_s, missed_deadlines=missed)
        found = board.conditions.between(t0_ns - AROUND_NS, t1_ns + AROUND_NS)
        told = conditions_of(board.device, self._intake.hello.boards[board.device], found, (t0_ns, t1_ns), read)
        return told.model_copy(update={"simulated": True}) if self.config.source == "replay" else told

    def _no_board(self, uuid: str) -> str:
        if "nvml" in self._sources.missing and not self._sources.tool_boards:
            return self._sources.missing["nvml"]
        known = ", ".join(self._sources.boards | self._sources.tool_boards)
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
        if not self._started or self._stopped:
            return
        if not self._feed.alive:
            raise JoulegridError("the power recorder's thread has died; its traceback is on the sampler's stderr")
        patience_s = max((device.patience_s(self.config.period_s) for device in devices), default=0.0)
        late_s = max(0, time.monotonic_ns() - t_ns) / 1e9

        def covered() -> bool:
            return all(device.covers(t_ns) for device in devices)

        with self._intake.sampled:
            if not self._intake.sampled.wait_for(covered, patience_s - late_s) and self.lost(t_ns, time.monotonic_ns()):
                self._intake.sampled.wait_for(covered, RESTART_S)
