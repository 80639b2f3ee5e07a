"""A lane's GPUs around one task: who else computes on them, how they were before, and whether they are free afterwards.

It asks NVML from the worker's process, never from the task's. NVML's process ids are compared with `/proc`. Where a PID
namespace makes them strangers nobody can be named: then `foreign` is unknown, and memory and utilisation before the
start decide alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from joulegrid.actors.result import ForeignProcess
from joulegrid.cluster.gpu_use import GpuUse, busiest, hottest, look, lost, memory_bytes
from joulegrid.kernels.judge import process_tree

LOOK_S = 1.0
RELEASE_LIMIT_S = 5.0
"""How long a GPU may take to give a dead process's memory back."""
SLACK_BYTES = 16 * 2**20
"""The driver's own bookkeeping moves by a few MB."""
IDLE_SLACK_BYTES = 256 * 2**20
IDLE_LIMIT_BYTES = 2 * 2**30
"""No driver keeps more of a GPU on which nobody computes (about 0.6 GB of an H100); per GPU."""
IDLE_PERCENT = 5.0
SETTLE_S = 2.0
"""NVML's utilisation looks back by up to a second: the lane's own last task may still be in it."""
AGAIN_S = 0.05
INITIAL_NAMESPACE = 0xEFFFFFFC
"""Inode of the PID namespace of the machine itself (PROC_PID_INIT_INO)."""

Moment = Literal["before", "during", "after"]


def _is_initial_namespace() -> bool:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == INITIAL_NAMESPACE
    except OSError:
        return False


@dataclass
class Idle:
    """The least memory that a lane's GPUs were seen to use between tasks: what idleness costs."""

    memory: dict[tuple[str, ...], int] = field(default_factory=dict)
    lists_us: bool = field(default_factory=_is_initial_namespace)
    """Whether NVML's process ids are known to be ours: on the machine itself, or once it has listed a task of ours."""

    def learn(self, uuids: tuple[str, ...], used: int, hidden: bool) -> int:
        """Take a new reading and return the baseline; one that nobody can explain is believed up to a limit."""
        most = IDLE_LIMIT_BYTES * len(uuids) if hidden else used
        self.memory[uuids] = min(self.memory.get(uuids, used), used, most)
        return self.memory[uuids]


@dataclass
class GpuWatch:
    """The watch over one task. Without GPUs it sees and says nothing."""

    uuids: tuple[str, ...]
    idle: Idle
    keeps_memory: bool = False
    """Whether the worker itself holds memory between tasks (isolation inline)."""
    memory_before: int | None = None
    utilisation_before: float | None = None
    bytes_left: int | None = None
    contaminated: str | None = None
    """Why what was measured belongs to more than the task."""
    fault: str | None = None
    """Why the lane should have no further task for now."""
    lost: str | None = None
    celsius: list[tuple[int, float]] = field(default_factory=list)
    """(time, °C of the warmest GPU), once a second while the task ran."""
    _found: dict[tuple[str, int], ForeignProcess] = field(default_factory=dict)
    _hidden: bool = False
    _own: set[int] = field(default_factory=set)

    @property
    def foreign(self) -> list[ForeignProcess] | None:
        """Whoever else computed on the GPUs; `None` where that cannot be known."""
        return list(self._found.values()) if self.uuids and self._sees else None

    @property
    def _sees(self) -> bool:
        return self.idle.lists_us and not self._hidden

    def before(self) -> None:
        """Look before the task: nobody should be there."""
        if not self.uuids:
            return
        uses = self._look("before")
        self.memory_before, self.utilisation_before = memory_bytes(uses), busiest(uses)
        used = self.memory_before
        if used is not None and not _listed(uses):
            baseline = self.idle.learn(self.uuids, used, hidden=not self.idle.lists_us)
            self._hidden = self._hidden or (used > baseline + IDLE_SLACK_BYTES and not self.keeps_memory)
        if not self._sees and self.lost is None:
            self._compare(uses)
        self._judge()

    @contextmanager
    def during(self) -> Iterator[None]:
        """Look once a second while the block runs, from a thread of its own."""
        if not self.uuids:
            yield
            return
        ended = threading.Event()
        thread = threading.Thread(target=self._keep_looking, args=(ended,), name="gpu-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(LOOK_S)

    def after(self) -> None:
        """Look after the task, and wait until the GPUs have their memory back."""
        if not self.uuids:
            return
        uses = self._look("after")
        self._judge()
        if self.memory_before is None or self.keeps_memory or self.lost:
            return
        limit_s = time.monotonic() + RELEASE_LIMIT_S
        while (left := (memory_bytes(uses) or 0) - self.memory_before) > SLACK_BYTES and time.monotonic() < limit_s:
            time.sleep(AGAIN_S)
            uses = look(self.uuids)
        self.bytes_left = max(0, left)
        if left > SLACK_BYTES:
            self.fault = self.fault or f"{left:,} bytes of GPU memory were not given back in {RELEASE_LIMIT_S:.0f} s"

    def _keep_looking(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK_S):
            self._look("during")

    def _look(self, moment: Moment) -> tuple[GpuUse, ...]:
        self._own |= _own_tree()
        uses = look(self.uuids)
        warmest = hottest(uses)
        if warmest is not None:
            self.celsius.append((time.monotonic_ns(), warmest))
        self.lost = self.lost or lost(uses)
        self._own |= _own_tree()
        if self.lost is None:
            self._sort(uses, moment)
        return uses

    def _sort(self, uses: tuple[GpuUse, ...], moment: Moment) -> None:
        """Tell our own processes, others', and ids that mean nothing here apart."""
        if any(use.processes is None for use in uses):
            self._hidden = True
            return
        self.idle.lists_us |= any(one.pid in self._own for use in uses for one in use.processes or ())
        others = {(use.uuid, one.pid): one for use in uses for one in use.processes or () if one.pid not in self._own}
        if any(not _exists(pid) for _, pid in others):
            time.sleep(AGAIN_S)  # it may just have ended; what is listed still is nobody that we could know
            still = {(use.uuid, one.pid) for use in look(self.uuids) for one in use.processes or ()}
            others = {key: one for key, one in others.items() if key in still}
            self._hidden = self._hidden or any(not _exists(pid) for _, pid in others)
        for (uuid, pid), one in others.items():
            if (uuid, pid) not in self._found:
                self._found[uuid, pid] = ForeignProcess(
                    pid=pid, name=_name(pid), gpu_uuid=uuid, memory_bytes=one.memory_bytes, seen=moment
                )
        rose = (memory_bytes(uses) or 0) - (self.memory_before or 0) > IDLE_SLACK_BYTES
        if moment == "during" and rose and not _listed(uses):
            self._hidden = True  # not even our own task is listed

    def _compare(self, uses: tuple[GpuUse, ...]) -> None:
        """Without names: memory above the idle baseline, or work, says that somebody is there."""
        limit_s = time.monotonic() + SETTLE_S
        while (busiest(uses) or 0.0) > IDLE_PERCENT and time.monotonic() < limit_s:
            time.sleep(AGAIN_S)
            uses = look(self.uuids)
        used, percent = memory_bytes(uses), busiest(uses)
        self.memory_before, self.utilisation_before = used, percent
        idle = None if used is None or self.keeps_memory else self.idle.learn(self.uuids, used, hidden=True)
        if used is not None and idle is not None and used > idle + IDLE_SLACK_BYTES:
            self.contaminated = f"{used:,} bytes of GPU memory were in use before the start, {idle:,} when idle"
        elif percent is not None and percent > IDLE_PERCENT:
            self.contaminated = f"the GPU was {percent:.0f} % busy before the start"
        if self.contaminated is not None:
            self.contaminated += "; whose work it is cannot be seen from here (another PID namespace)"

    def _judge(self) -> None:
        if self._found and self._sees and self.contaminated is None:
            named = [f"PID {one.pid} ({one.name or 'unknown'}) on {one.gpu_uuid}" for one in self._found.values()]
            self.contaminated = f"foreign work on the lane's GPUs: {', '.join(named)}"
        self.fault = self.fault or self.lost or self.contaminated


def _listed(uses: tuple[GpuUse, ...]) -> bool:
    return any(use.processes for use in uses)


def _own_tree() -> set[int]:
    """Process ids of the worker, its zygote, and whatever runs below them."""
    return set(process_tree.members(os.getpid()))


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _name(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return None
