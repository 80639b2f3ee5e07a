"""The probe of a task: stamps marks, tells progress. It reads no sensor."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from joulegrid.cases.contract import IDLE_WINDOW, LaneView, Mark
from joulegrid.cluster.power.sampler.marks import MarkEdge, unmarked
from joulegrid.jsontypes import Json
from joulegrid.kernels.judge import process_tree

Tell = Callable[[dict[str, Json]], object]
"""Where progress goes: `done`, `total`, `note`."""


MOMENTS = 64
"""Of a longer window every second moment is dropped, so that a mark stays small."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose CPU time a window counts."""

    family_s: Callable[[], float]
    """CPU seconds until now of what this process has started. Looking them up takes CPU time itself, so that this
    process's own are read after them when a window opens, and before them when it closes: the looking falls outside."""
    cpus: tuple[int, ...] = ()
    """Cores on which others are looked at too; none: what they do stays unknown."""
    mark: MarkEdge = unmarked
    """Tells the node's sampler that an edge is near."""


class TaskWindow:
    """An open window; see `joulegrid.cases.contract.Window`."""

    def __init__(self, name: str, min_seconds: float, account: Account) -> None:
        self.name = name
        self._account = account
        self._min_ns = int(min_seconds * 1e9)
        self._repeats = 0
        self._mark: Mark | None = None
        self._done: list[tuple[int, int]] = []
        self._every = 1
        account.mark()  # before the wait for the device: the sampler already reads faster when the window begins
        synchronize()
        self._busy_s = busy_seconds(account.cpus)
        self._family_s = account.family_s()
        self._own_ns = time.process_time_ns()
        self._t0_ns = time.monotonic_ns()

    def __iter__(self) -> Iterator[int]:
        while self._repeats == 0 or time.monotonic_ns() - self._t0_ns < self._min_ns:
            yield self._repeats
            self._repeats += 1
            if self._repeats % self._every == 0:
                self._note()

    def _note(self) -> None:
        self._done.append((time.monotonic_ns(), self._repeats))
        if len(self._done) >= MOMENTS:
            self._done, self._every = self._done[1::2], 2 * self._every

    @property
    def mark(self) -> Mark:
        """The closed window."""
        if self._mark is None:
            raise RuntimeError(f"the window {self.name!r} is still open; read its mark after the with block")
        return self._mark

    def close(self) -> Mark:
        """Synchronise, stamp the end and return the mark."""
        synchronize()
        t1_ns = time.monotonic_ns()
        own_s = (time.process_time_ns() - self._own_ns) / 1e9
        self._account.mark()
        # A child that detached itself takes what it had used out of the sum: never below our own share.
        cpu_s = own_s + max(0.0, self._account.family_s() - self._family_s)
        busy_s = busy_seconds(self._account.cpus)
        # The kernel counts busy time in ticks of 10 ms: the difference may come out a tick below zero.
        other_s = None if busy_s is None or self._busy_s is None else max(0.0, busy_s - self._busy_s - cpu_s)
        self._mark = Mark(self.name, self._t0_ns, t1_ns, cpu_s, max(1, self._repeats), other_s, done=tuple(self._done))
        return self._mark


class TaskProbe:
    """The probe that a workload gets."""

    def __init__(self, lane: LaneView, scratch: Path, tell: Tell, account: Account) -> None:
        self.lane = lane
        self.scratch = scratch
        self.marks: list[Mark] = []
        self.phase = "run"
        self._open: TaskWindow | None = None
        self._tell = tell
        self._account = account

    @contextmanager
    def window(self, name: str, *, min_seconds: float = 0.0) -> Iterator[TaskWindow]:
        """Open a measured window; both edges wait for the device."""
        if self._open is not None:
            raise RuntimeError(f"the window {name!r} cannot open inside {self._open.name!r}: windows must not overlap")
        self.phase = name
        self._open = TaskWindow(name, min_seconds, self._account)
        try:
            yield self._open
            self.marks.append(self._open.close())
            self.phase = "run"
        finally:
            self._open = None

    def idle(self) -> None:
        """Hold still for as long as the study asks for, in the window `idle`."""
        if self.lane.idle_s > 0:
            with self.window(IDLE_WINDOW):
                time.sleep(self.lane.idle_s)

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Tell how far the task is; it may be lost on the way."""
        self._tell({"done": done, "total": total, "note": note})


def datagrams(address: str) -> Tell:
    """Return what sends progress to an abstract Unix address; a full or closed socket loses it."""
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.setblocking(False)

    def tell(progress: dict[str, Json]) -> None:
        with contextlib.suppress(OSError):
            sender.sendto(json.dumps(progress).encode(), "\0" + address)

    return tell


def synchronize() -> None:
    """Wait for the CUDA devices that this process has initialised; does nothing without torch or CUDA."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            torch.cuda.synchronize(device)


def family_seconds() -> float:
    """CPU seconds of the children that this process waited for, and of all that live below it.

    With the living ones counted at both edges, a pool of workers costs what it used inside the window, whether it began
    before it, ended in it, or goes on. What detached itself from the process is missing.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime + sum(family_s(pid) for pid in process_tree.below(os.getpid()))


def thread_family_seconds() -> float:
    """CPU seconds of the children of this thread: what a task in the worker itself has started.

    Looking at this thread's children alone is one file instead of one for
    each of some 40 threads.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    waited_s = children.ru_utime + children.ru_stime
    try:
        with open("/proc/thread-self/children", "rb") as file:  # noqa: PTH123 - a Path costs as much as the reading
            below = file.read().split()
    except OSError:
        return waited_s
    return waited_s + sum(family_s(pid) for child in map(int, below) for pid in process_tree.members(child))


def busy_seconds(cpus: tuple[int, ...]) -> float | None:
    """Seconds that these cores have worked for anybody since boot, by `/proc/stat` (all but idle, iowait and steal)."""
    if not cpus:
        return None
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    rows = {row[0]: row[1:] for row in (line.split() for line in lines) if row and row[0].startswith("cpu")}
    busy = [sum(map(int, (row[0], row[1], row[2], row[5], row[6]))) for cpu in cpus if (row := rows.get(f"cpu{cpu}"))]
    return sum(busy) / os.sysconf("SC_CLK_TCK") if len(busy) == len(cpus) else None


def family_s(pid: int) -> float:
    """CPU seconds of another process and of the children that it waited for; 0 when it has just gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        waited_s = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime((~pid << 3) | 2) + waited_s  # CPUCLOCK_SCHED of that process, in nanoseconds
    except OSError:
        return 0.0
