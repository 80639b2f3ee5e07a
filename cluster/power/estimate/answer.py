"""A window, what was read around it, and what is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from joulegrid.cluster.power.estimate.integral import Published, powers_of

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import CrossCheck, Flag, Source
    from joulegrid.cluster.power.estimate.known import Bounds, Known
    from joulegrid.cluster.power.sensors.readings import Reading


@dataclass(slots=True)
class Seen:
    """A window and all that was read around it."""

    readings: list[Reading]
    t0_ns: int
    t1_ns: int
    known: Known
    looks: list[Published] = field(init=False)

    def __post_init__(self) -> None:
        self.looks = powers_of(self.readings, self.t0_ns)

    @property
    def t1_s(self) -> float:
        """The window's end, counted from its start."""
        return (self.t1_ns - self.t0_ns) / 1e9


@dataclass(slots=True)
class Answer:
    """A window's joules, the source that is believed, and what a reader must know."""

    bounds: Bounds
    source: Source
    words: str
    flags: set[Flag] = field(default_factory=set)
    check: CrossCheck | None = None
    proven: bool = False
    """Whether this window showed that the counter integrates all the time."""
    drifted: bool = False
    """Whether the counter ticked with another period than calibration had found."""
    log_odds: float = 0.0
    """What it showed of the tail: positive for a sensor's lag, negative for decay."""
