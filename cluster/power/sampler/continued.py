"""A counter that goes on over restarts of the process that reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joulegrid.cluster.power.sensors.readings import Reading


@dataclass
class Continued:
    """The counter of a RAPL domain, continuous over restarts of the process that reads it."""

    range_j: float
    last_j: float | None = None
    added_j: float = 0.0
    fresh: bool = True

    def restart(self) -> None:
        """Learn that the next reading comes from a new process, which knows of no wrap before it."""
        self.fresh = True

    def joined(self, reading: Reading) -> Reading:
        """Return the reading with a counter that goes on where the last one was; one wrap at most is supposed."""
        if reading.counter_j is None:
            return reading
        if self.fresh and self.last_j is not None:
            self.added_j = max(0, ceil((self.last_j - reading.counter_j) / self.range_j)) * self.range_j
        self.fresh = False
        self.last_j = reading.counter_j + self.added_j
        return replace(reading, counter_j=self.last_j)
