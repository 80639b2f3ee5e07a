"""Messages between judge, zygote and child: a length, then JSON; descriptors may travel with the first byte.

Standard library alone: the child imports it, too. What comes up from a child is hearsay, bounded in size and in time.
"""

from __future__ import annotations

import array
import json
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

UP_LIMIT = 4 << 20
"""Bytes of the longest message that a judge accepts from a child."""
_LENGTH = struct.Struct("<I")
_MOST_DESCRIPTORS = 4


class Gone(Exception):  # noqa: N818 - a state of the other side, which may be wanted
    """The other side closed its end."""


class Silent(Exception):  # noqa: N818
    """The other side did not answer in time."""


class Garbled(Exception):  # noqa: N818
    """The other side sent what is no message."""


def send(channel: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message; `Gone` where nobody reads any more, `Silent` where the channel's time is over."""
    data = json.dumps(message).encode()
    data = _LENGTH.pack(len(data)) + data
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        sent = channel.sendmsg([data], rights)
        channel.sendall(data[sent:])
    except (BrokenPipeError, ConnectionResetError) as error:
        raise Gone from error
    except TimeoutError as error:
        raise Silent from error


def receive(channel: socket.socket, deadline: float | None = None) -> tuple[dict[str, Any], list[int]]:
    """Return the next message and its descriptors; `deadline` is a value of `time.monotonic()`, none waits for ever."""
    _await_readable(channel, deadline)
    try:
        head, descriptors, _, _ = socket.recv_fds(channel, _LENGTH.size, _MOST_DESCRIPTORS)
    except ConnectionResetError as error:
        raise Gone from error
    head += _read(channel, _LENGTH.size - len(head), deadline)
    (length,) = _LENGTH.unpack(head)
    if length > UP_LIMIT:
        raise Garbled(f"a message of {length} bytes; at most {UP_LIMIT} are read")
    try:
        message = json.loads(_read(channel, length, deadline))
    except (ValueError, RecursionError) as error:
        raise Garbled("a message that is no JSON") from error
    if not isinstance(message, dict):
        raise Garbled("a message that is no JSON object")
    return message, list(descriptors)


def has_more(channel: socket.socket) -> bool:
    """Tell whether something was sent that nobody asked for."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    return any(event & select.POLLIN and not event & select.POLLHUP for _, event in poll.poll(0))


def _read(channel: socket.socket, count: int, deadline: float | None) -> bytes:
    parts = []
    while count:
        _await_readable(channel, deadline)
        try:
            part = channel.recv(min(count, 1 << 20))
        except ConnectionResetError as error:
            raise Gone from error
        if not part:
            raise Gone
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _await_readable(channel: socket.socket, deadline: float | None) -> None:
    remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
    poll = select.poll()  # select.select fails where a process has over 1,024 descriptors
    poll.register(channel, select.POLLIN)
    if not poll.poll(None if remaining is None else remaining * 1000):
        raise Silent
