"""The smallest real probe: windows with true clocks and nothing beside them. For running a workload in-process."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from joulegrid.cases.contract import LaneView, Mark

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class LocalWindow:
    """An open window; iterating repeats the body until `min_seconds` have passed, at least once."""

    def __init__(self, min_seconds: float) -> None:
        self._min_ns = int(min_seconds * 1e9)
        self.repeats = 0
        self.closed: Mark | None = None
        self.t0_ns = time.monotonic_ns()

    def __iter__(self) -> Iterator[int]:
        while self.repeats == 0 or time.monotonic_ns() - self.t0_ns < self._min_ns:
            yield self.repeats
            self.repeats += 1

    @property
    def mark(self) -> Mark:
        if self.closed is None:
            raise RuntimeError("the window is still open")
        return self.closed


@dataclass
class LocalProbe:
    """Records marks and progress; refuses windows that overlap."""

    scratch: Path
    lane: LaneView = LaneView(device="cpu", cpus=(0,))  # one thread: two fight over the cores of a busy machine
    marks: list[Mark] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_open: bool = False

    @contextmanager
    def window(self, name: str, *, min_seconds: float = 0.0) -> Iterator[LocalWindow]:
        if self.is_open:
            raise RuntimeError(f"window {name!r} overlaps another")
        self.is_open = True
        cpu_s, window = time.process_time(), LocalWindow(min_seconds)
        try:
            yield window
            t1_ns = time.monotonic_ns()
            window.closed = Mark(name, window.t0_ns, t1_ns, time.process_time() - cpu_s, max(window.repeats, 1))
            self.marks.append(window.closed)
        finally:
            self.is_open = False

    def idle(self) -> None:
        if self.lane.idle_s > 0:
            with self.window("idle"):
                time.sleep(self.lane.idle_s)

    def progress(self, done: float, total: float, note: str = "") -> None:
        assert not self.is_open, "progress inside a window"
        assert 0 <= done <= total
        self.notes.append(note)
