"""The probe of a task's own process: stamps marks, sends progress. It reads no sensor."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joulegrid.cases.contract import LaneView, Mark


class TaskWindow:
    """An open window; see `joulegrid.cases.contract.Window`."""

    def __init__(self, name: str, min_seconds: float) -> None:
        self.name = name
        self._min_ns = int(min_seconds * 1e9)
        self._repeats = 0
        self._mark: Mark | None = None
        synchronize()
        self._cpu_s = cpu_seconds()
        self._t0_ns = time.monotonic_ns()

    def __iter__(self) -> Iterator[int]:
        while self._repeats == 0 or time.monotonic_ns() - self._t0_ns < self._min_ns:
            yield self._repeats
            self._repeats += 1

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
        cpu_s = cpu_seconds() - self._cpu_s
        self._mark = Mark(self.name, self._t0_ns, t1_ns, cpu_s, max(1, self._repeats))
        return self._mark


class TaskProbe:
    """The probe that a workload gets in its fresh process."""

    def __init__(self, lane: LaneView, scratch: Path, progress_address: str) -> None:
        self.lane = lane
        self.scratch = scratch
        self.marks: list[Mark] = []
        self.phase = "run"
        self._open: TaskWindow | None = None
        self._address = "\0" + progress_address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    @contextmanager
    def window(self, name: str, *, min_seconds: float = 0.0) -> Iterator[TaskWindow]:
        """Open a measured window; both edges wait for the device."""
        if self._open is not None:
            raise RuntimeError(f"the window {name!r} cannot open inside {self._open.name!r}: windows must not overlap")
        self.phase = name
        self._open = TaskWindow(name, min_seconds)
        try:
            yield self._open
            self.marks.append(self._open.close())
            self.phase = "run"
        finally:
            self._open = None

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Send one datagram; a full or closed socket loses it."""
        with contextlib.suppress(OSError):
            self._socket.sendto(json.dumps({"done": done, "total": total, "note": note}).encode(), self._address)


def synchronize() -> None:
    """Wait for the CUDA devices that this process has initialised; does nothing without torch or CUDA."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            torch.cuda.synchronize(device)


def cpu_seconds() -> float:
    """CPU seconds of this process (all its threads) and of the children that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() / 1e9 + children.ru_utime + children.ru_stime
