"""What one look at a sensor gives, and the bounded memory that keeps it. No hardware, no arithmetic.

The process that reads sensors imports this and little else: nothing heavier than the standard library belongs here.
Times are `time.monotonic_ns()` of the node.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

KEPT_S = 7_200.0  # two hours stay in memory: 144,000 readings a device at 20 Hz, about 20 MB


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at a sensor gave; `None` where it gave nothing, and then `trouble` says why."""

    t_ns: int
    """Middle of the call that read."""
    counter_j: float | None = None
    """Cumulative energy in joules."""
    power_w: float | None = None
    """Instant power (NVML field 186)."""
    average_w: float | None = None
    """Power that the driver has averaged, over one second since Ampere (NVML field 185)."""
    counter_stamp_ns: int | None = None
    """When the driver says that the counter was updated, in nanoseconds of the driver's own clock."""
    power_stamp_ns: int | None = None
    """The same of the instant power."""
    trouble: str | None = None


class Sensor(Protocol):
    """A thing that can be read; the only part of the sampler that touches hardware."""

    @property
    def device(self) -> str:
        """GPU UUID, or name of the RAPL domain."""
        ...

    def read(self) -> Reading:
        """Read once. Never raises for what the hardware does: trouble becomes part of the reading."""
        ...


class Timed(Protocol):
    """Anything with a time."""

    @property
    def t_ns(self) -> int:
        """Nanoseconds on the node's monotonic clock."""
        ...


TimedT = TypeVar("TimedT", bound=Timed)


class Ring(Generic[TimedT]):
    """The last `size` entries in order of time; one thread writes, any thread reads."""

    def __init__(self, size: int) -> None:
        self._entries: deque[TimedT] = deque(maxlen=size)
        self._lock = threading.Lock()

    def append(self, entry: TimedT) -> None:
        """Add the newest entry; the oldest one leaves when the ring is full."""
        with self._lock:
            self._entries.append(entry)

    def last(self) -> TimedT | None:
        """The newest entry, if there is one."""
        with self._lock:
            return self._entries[-1] if self._entries else None

    def between(self, t0_ns: int, t1_ns: int) -> list[TimedT]:
        """Entries with `t0_ns <= t_ns <= t1_ns`, oldest first. Walks back from the newest: recent windows are cheap."""
        found: list[TimedT] = []
        with self._lock:
            for entry in reversed(self._entries):
                if entry.t_ns < t0_ns:
                    break
                if entry.t_ns <= t1_ns:
                    found.append(entry)
        found.reverse()
        return found


def ring_size(period_s: float) -> int:
    """Entries that two hours need at one reading each `period_s` seconds."""
    return max(16, round(KEPT_S / period_s))
