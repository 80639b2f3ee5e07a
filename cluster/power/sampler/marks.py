"""Marks: a datagram by which a measured process tells the sampling process that a window begins or ends.

It is a hint to read faster for a moment; what counts is the time that the process stamps itself. Sending never blocks
and never fails: a mark that is lost costs a wider interval at that edge.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

MarkEdge = Callable[[], None]


def unmarked() -> None:
    """Tell nobody."""


class _Sender:
    """A socket that is closed with what holds it."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._where = b"\0" + address.encode()

    def __call__(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(b"m", self._where)

    def __del__(self) -> None:
        self._socket.close()


def mark_sender(address: str) -> MarkEdge:
    """Return what tells the sampling process at this abstract Unix address that an edge is near; empty: nobody."""
    return _Sender(address) if address else unmarked


def mark_receiver(address: str) -> socket.socket:
    """Return the socket at which marks arrive. Raises `OSError` where another process has the address."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.setblocking(False)
    receiver.bind(b"\0" + address.encode())
    return receiver


def marks_arrived(receiver: socket.socket) -> bool:
    """Whether there were marks; takes them all."""
    arrived = False
    with contextlib.suppress(BlockingIOError):
        while receiver.recv(16):
            arrived = True
    return arrived
