"""A bounded memory of what was read, as bytes: values are made of the few that a window asks for, and never before."""

from __future__ import annotations

import struct
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic

from joulegrid.cluster.power.sensors.readings import TimedT

if TYPE_CHECKING:
    from collections.abc import Callable

TIME = struct.Struct("=q")
"""What all bytes that are kept so begin with: nanoseconds of the node's monotonic clock."""


class LateRing(Generic[TimedT]):
    """The last `size` entries in order of time; one thread writes, any thread reads.

    An entry is a value, or bytes of which `decode` makes one each time that it is asked for (2 µs a reading).
    """

    def __init__(self, size: int, decode: Callable[[bytes], TimedT]) -> None:
        self._entries: deque[bytes | TimedT] = deque(maxlen=size)
        self._decode = decode
        self._lock = threading.Lock()

    def append(self, entry: bytes | TimedT) -> None:
        """Add the newest entry; the oldest one leaves when the ring is full."""
        with self._lock:
            self._entries.append(entry)

    def last(self) -> TimedT | None:
        """The newest entry, if there is one."""
        with self._lock:
            entry = self._entries[-1] if self._entries else None
        return self._decode(entry) if isinstance(entry, bytes) else entry

    def between(self, t0_ns: int, t1_ns: int) -> list[TimedT]:
        """Entries with `t0_ns <= t_ns <= t1_ns`, oldest first. Walks back from the newest: recent windows are cheap."""
        found: list[bytes | TimedT] = []
        with self._lock:
            for entry in reversed(self._entries):
                t_ns: int = TIME.unpack_from(entry)[0] if isinstance(entry, bytes) else entry.t_ns
                if t_ns < t0_ns:
                    break
                if t_ns <= t1_ns:
                    found.append(entry)
        return [self._decode(entry) if isinstance(entry, bytes) else entry for entry in reversed(found)]
