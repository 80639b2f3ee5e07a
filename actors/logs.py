"""What a task prints, bounded: the first and the last part are kept, however much there is."""

from __future__ import annotations

import threading
from collections import deque
from typing import IO

HEAD = 16_000
TAIL = 48_000
CHUNK = 65_536


class LogBuffer:
    """A reader of one pipe that never lets the writer wait, and never keeps more than 64 kB."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._lock = threading.Lock()
        self._clear()
        self._reader = threading.Thread(target=self._read, args=(pipe,), daemon=True, name="task-log")
        self._reader.start()

    def take(self) -> str:
        """Return what was printed since the last call, with a note where the middle was left out."""
        with self._lock:
            tail = b"".join(self._tail)
            left_out = self._seen - len(self._head) - len(tail)
            note = f"\n… {left_out:,} bytes left out …\n".encode() if left_out > 0 else b""
            text = (self._head + note + tail).decode("utf-8", "replace")
            self._clear()
        return text

    def _clear(self) -> None:
        self._head = b""
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._seen = 0

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := pipe.read1(CHUNK):  # type: ignore[attr-defined]
                with self._lock:
                    self._keep(chunk)

    def _keep(self, chunk: bytes) -> None:
        self._seen += len(chunk)
        room = HEAD - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if chunk:
            self._tail.append(chunk)
            self._tail_size += len(chunk)
        while self._tail and self._tail_size - len(self._tail[0]) >= TAIL:
            self._tail_size -= len(self._tail.popleft())
