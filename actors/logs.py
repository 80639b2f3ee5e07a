"""What a task prints, bounded: the first and the last part are kept, however much there is."""

from __future__ import annotations

import fcntl
import io
import struct
import termios
import threading
import time
from collections import deque
from typing import IO, Any

HEAD = 16_000
TAIL = 48_000
CHUNK = 65_536
DRAIN_LIMIT_S = 0.2


class Tail(io.BufferedIOBase):
    """A binary file that keeps the last part of what is written to it."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self._size = 0

    def writable(self) -> bool:
        """Return `True`."""
        return True

    def write(self, data: Any, /) -> int:
        """Take bytes; the oldest are forgotten."""
        part = bytes(data[-TAIL:])
        self._parts.append(part)
        self._size += len(part)
        while self._size - len(self._parts[0]) >= TAIL:
            self._size -= len(self._parts.popleft())
        return len(data)

    def take(self) -> str:
        """Return what was written since the last call, or the last 48 kB of it."""
        if not self._parts:
            return ""
        text = b"".join(self._parts).decode("utf-8", "replace")
        self._parts.clear()
        self._size = 0
        return text


class LogBuffer:
    """A reader of one pipe that never lets the writer wait, and never keeps more than 64 kB."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._lock = threading.Lock()
        self._pipe = pipe
        self._busy = False
        self._clear()
        self._reader = threading.Thread(target=self._read, args=(pipe,), daemon=True, name="task-log")
        self._reader.start()

    def take(self) -> str:
        """Return what was printed since the last call, with a note where the middle was left out."""
        self._drain()
        with self._lock:
            tail = b"".join(self._tail)
            left_out = self._seen - len(self._head) - len(tail)
            note = f"\n… {left_out:,} bytes left out …\n".encode() if left_out > 0 else b""
            text = (self._head + note + tail).decode("utf-8", "replace")
            self._clear()
        return text

    def _drain(self) -> None:
        """Let the reading thread catch up with a process that has just ended; a writer that goes on ends the wait."""
        limit_s = time.monotonic() + DRAIN_LIMIT_S
        while self._waiting() and time.monotonic() < limit_s:
            time.sleep(0.001)

    def _waiting(self) -> bool:
        """Whether bytes lie in the pipe, or have been read and not yet been kept."""
        if self._pipe.closed:
            return False
        in_pipe = struct.unpack("i", fcntl.ioctl(self._pipe, termios.FIONREAD, b"\0" * 4))[0]
        return bool(in_pipe) or self._busy

    def _clear(self) -> None:
        self._head = b""
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._seen = 0

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := pipe.read1(CHUNK):  # type: ignore[attr-defined]
                self._busy = True
                with self._lock:
                    self._keep(chunk)
                self._busy = False

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
