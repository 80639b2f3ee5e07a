"""What the sampling process writes into its pipe: readings packed by `struct`, everything rarer as JSON.

Both ends import this, so it needs nothing but the standard library.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from math import isnan, nan
from typing import TYPE_CHECKING, Any, Literal

from joulegrid.cluster.power.sensors.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joulegrid.cluster.power.energy import Scope
    from joulegrid.cluster.power.sensors.edges import Tool
    from joulegrid.cluster.power.sensors.nvml import BoardFacts

Kind = Literal["hello", "refused", "reading", "condition", "round"]
KINDS: tuple[Kind, ...] = ("hello", "refused", "reading", "condition", "round")
READING = KINDS.index("reading")
HEAD = struct.Struct("=BBI")  # kind, number of the device, bytes that follow
BODY = struct.Struct("=qdddqq")  # time, counter, instant, average (NaN: nothing), two time stamps (0: nothing)
ROUND = struct.Struct("=qqq")  # deadline, when the round began, deadlines missed before it


@dataclass(frozen=True, slots=True)
class Order:
    """What a sampling process is told."""

    source: str
    """`auto`, `nvml`, `rapl`, `zeus` or `codecarbon`."""
    period_s: float
    powercap: str
    """Folder of the RAPL files."""
    marks: str
    """Abstract Unix address at which marks arrive."""
    parent: int
    """Process id of the one that starts it, with whom it ends."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What a sampling process has opened. Devices are numbered: boards first, then what tools read, then domains."""

    boards: dict[str, BoardFacts] = field(default_factory=dict)
    """By UUID."""
    domains: dict[str, tuple[Scope, float]] = field(default_factory=dict)
    """By name: scope, and the joules after which the counter wraps."""
    tools: dict[str, tuple[Tool, str]] = field(default_factory=dict)
    """By UUID: the tool that reads the GPU, and the GPU's name."""
    missing: dict[str, str] = field(default_factory=dict)
    """`nvml` or `rapl` → why it is not read."""
    pid: int = 0

    @property
    def devices(self) -> list[str]:
        """Names by their numbers."""
        return [*self.boards, *self.tools, *self.domains]


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of the sampling process."""

    kind: Kind
    device: int
    """Number of the device in the order of the hello; 0 where no device is meant."""
    body: bytes

    def reading(self) -> Reading:
        """The reading that `packed_reading` packed."""
        t_ns, counter_j, power_w, average_w, counter_ns, power_ns = BODY.unpack_from(self.body)
        return Reading(
            t_ns,
            None if isnan(counter_j) else counter_j,
            None if isnan(power_w) else power_w,
            None if isnan(average_w) else average_w,
            counter_ns or None,
            power_ns or None,
            self.body[BODY.size :].decode() or None,
        )

    def json(self) -> Any:
        """What `packed_json` packed."""
        return json.loads(self.body)


def packed_reading(device: int, reading: Reading) -> bytes:
    """Pack a reading of the device with this number."""
    words = b"" if reading.trouble is None else reading.trouble.encode()
    counter_j, power_w, average_w = reading.counter_j, reading.power_w, reading.average_w
    return (
        HEAD.pack(READING, device, BODY.size + len(words))
        + BODY.pack(
            reading.t_ns,
            nan if counter_j is None else counter_j,
            nan if power_w is None else power_w,
            nan if average_w is None else average_w,
            reading.counter_stamp_ns or 0,
            reading.power_stamp_ns or 0,
        )
        + words
    )


def packed_json(kind: Kind, device: int, value: Any) -> bytes:
    """Pack what is told rarely."""
    body = json.dumps(value).encode()
    return HEAD.pack(KINDS.index(kind), device, len(body)) + body


def packed_round(deadline_ns: int, began_ns: int, missed: int) -> bytes:
    """Pack when a round of readings was due, when it began, and how many deadlines went by since the one before."""
    return HEAD.pack(KINDS.index("round"), 0, ROUND.size) + ROUND.pack(deadline_ns, began_ns, missed)


def frames_in(buffer: bytearray) -> Iterator[Frame]:
    """Take every whole frame from the beginning of the buffer; the rest stays for more bytes."""
    start = 0
    while len(buffer) - start >= HEAD.size:
        kind, device, length = HEAD.unpack_from(buffer, start)
        end = start + HEAD.size + length
        if end > len(buffer):
            break
        yield Frame(KINDS[kind], device, bytes(buffer[start + HEAD.size : end]))
        start = end
    del buffer[:start]
