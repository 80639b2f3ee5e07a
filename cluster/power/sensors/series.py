"""Power over time, and what answers for the windows of one sensor; the arithmetic lies in `estimate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Energy, Provenance, Scope, Source
    from joulegrid.cluster.power.sensors.readings import Reading

MARGIN_NS = 3_000_000_000  # readings looked at on either side of a window; the slowest counter ticks once a second


class UnreadError(Exception):
    """Why a device has no energy for a window; its text becomes `Energy.reason`. Never leaves this package."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Power of one device at one instant, with the words that stay on every figure made from it."""

    t_ns: int
    """`time.monotonic_ns()` of the node."""
    device: str
    power_w: float
    source: Source
    provenance: Provenance
    scope: Scope


class Device(Protocol):
    """What is known of one sensor's device: readings come in, answers about windows go out."""

    device: str
    scope: Scope

    def append(self, reading: Reading) -> None:
        """Take the newest reading of its sensor."""
        ...

    def readings(self, t0_ns: int, t1_ns: int) -> list[Reading]:
        """What was read between two instants."""
        ...

    def covers(self, t_ns: int) -> bool:
        """Whether nothing more is to be waited for to answer about a window that ends at `t_ns`."""
        ...

    def patience_s(self, period_s: float) -> float:
        """How long after a window's end its last reading may still come."""
        ...

    def energy(self, t0_ns: int, t1_ns: int) -> Energy:
        """Joules between two instants, or null with the reason."""
        ...

    def series(self, t0_ns: int, t1_ns: int) -> list[Sample]:
        """Power between two instants."""
        ...
