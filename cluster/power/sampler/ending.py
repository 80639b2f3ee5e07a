"""The end of a process and of its pipe, as the one who reads from it learns of them."""

from __future__ import annotations

import contextlib
import os

READ_BYTES = 2**16


class Ending:
    """Tells the end of a process by a descriptor that becomes readable; `None` before Linux 5.3, which has none."""

    def __init__(self, pid: int) -> None:
        self.descriptor: int | None = None
        with contextlib.suppress(OSError):
            self.descriptor = os.pidfd_open(pid)

    def __enter__(self) -> Ending:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        if self.descriptor is not None:
            os.close(self.descriptor)
        self.descriptor = None


def drained(descriptor: int) -> bytes | None:
    """Return everything that waits in a pipe; `None` once its writer has gone and nothing is left."""
    parts = []
    with contextlib.suppress(BlockingIOError):
        while part := os.read(descriptor, READ_BYTES):
            parts.append(part)
        return b"".join(parts) or None
    return b"".join(parts)
