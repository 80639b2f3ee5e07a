"""What a row of looks at a counter says of its ticks: values, and the brackets in which each of them appeared.

Pure arithmetic. Times are seconds from an origin that the caller chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joulegrid.cluster.power.sensors.readings import Reading

LATENCY_S = 0.0003
"""A reading is dated at the middle of a driver call that takes some tenths of a millisecond."""
MOST_W = 5_000.0
"""No board draws more (the largest superchip modules take 2.7 kW)."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """A new value of the counter: its last tick lies in (`low_s`, `high_s`]."""

    low_s: float
    """The last look that still saw the old value."""
    high_s: float
    """The first look that saw this one."""
    counter_j: float
    power_w: float | None = None
    """Instant power in the same look."""
    stamp_s: float | None = None
    """When the driver says that it was updated, on the driver's clock."""

    @property
    def middle_s(self) -> float:
        """The middle of the bracket."""
        return (self.low_s + self.high_s) / 2

    @property
    def half_s(self) -> float:
        """Half of its width."""
        return (self.high_s - self.low_s) / 2


def brackets_of(readings: list[Reading], origin_ns: int) -> list[Bracket]:
    """Every change of the counter. A value that jumps up for one look and back is a misread and left out."""
    looks = _plausible([r for r in readings if r.counter_j is not None])
    return [
        Bracket(
            (before.t_ns - origin_ns) / 1e9,
            (now.t_ns - origin_ns) / 1e9,
            now.counter_j or 0.0,
            now.power_w if now.power_w is not None and now.power_w <= MOST_W else None,
            None if now.counter_stamp_ns is None else now.counter_stamp_ns / 1e9,
        )
        for before, now in pairwise(looks)
        if now.counter_j != before.counter_j
    ]


def _plausible(looks: list[Reading]) -> list[Reading]:
    inner = zip(looks, looks[1:], looks[2:], strict=False)
    return [*looks[:1], *(look for before, look, after in inner if not _returns(before, look, after)), *looks[1:][-1:]]


def _returns(before: Reading, look: Reading, after: Reading) -> bool:
    """Whether one look differs from both of its neighbours in a way that no counter can."""
    low, value, high = before.counter_j or 0.0, look.counter_j or 0.0, after.counter_j or 0.0
    return low <= high and (value > high or value < low)
