"""Whether anybody waits for readings. While nobody does they are taken in blocks, which spares most of their cost."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Attention:
    """Counts who waits, and wakes the thread that takes readings when the first one comes."""

    def __init__(self) -> None:
        self._waiting = 0
        self._lock = threading.Lock()
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """Readable once somebody has begun to wait."""

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Wait for readings inside of it: each is taken when it comes."""
        with self._lock:
            self._waiting += 1
        os.eventfd_write(self.descriptor, 1)
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    @property
    def is_drawn(self) -> bool:
        """Whether somebody waits."""
        return self._waiting > 0

    def noticed(self) -> None:
        """Make the descriptor unreadable until the next one comes."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.descriptor)

    def __del__(self) -> None:
        os.close(self.descriptor)
