"""What is known of a sensor before a window is answered: from calibration, and from the windows before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TailVerdict = Literal["decay", "lag", "undecided"]


@dataclass(frozen=True, slots=True)
class Known:
    """Facts of one sensor; `None` where a fact is not known."""

    counter_period_s: float | None = None
    power_period_s: float | None = None
    tail: TailVerdict = "undecided"
    """Whether what is counted after a load is power that really flows, or the sensor's memory of it."""
    integrates: bool | None = None
    """Whether the counter sees all the time, or a part of each update alone."""
    average_s: float | None = None
    """Length of the mean that the averaged power is."""
    tail_s: float | None = None
    """Time constant of the tail behind a load; 0 where power falls at once."""
    limit_w: float | None = None
    """Power limit of the board during the window."""
    worked: bool | None = None
    """Whether utilisation or clocks say that it computed in the window."""


NOTHING = Known()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Joules of a window with a 95 % interval."""

    energy_j: float
    low_j: float
    high_j: float

    @staticmethod
    def around(energy_j: float, half_j: float) -> Bounds:
        """The same on both sides; never below zero."""
        return Bounds(energy_j, max(0.0, energy_j - half_j), energy_j + half_j)

    @property
    def half_j(self) -> float:
        """Half of the interval's width."""
        return (self.high_j - self.low_j) / 2
