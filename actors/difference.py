"""A cost by difference: joules of a unit in one window less those in another, with the errors of both. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from joulegrid.cluster.power.energy import Energy

UNLIKE = "the joules of the two are not of one known kind"


@dataclass(frozen=True, slots=True)
class Spread:
    """Joules of a window and how many units they were spent on."""

    energy: Energy
    units: float

    @property
    def joules(self) -> float | None:
        """Joules of one unit."""
        return self._one(self.energy.energy_j)

    @property
    def ends(self) -> tuple[float, float] | None:
        """The same of both ends of the stated interval; `None` where none is stated."""
        low, high = self._one(self.energy.low_j), self._one(self.energy.high_j)
        return None if low is None or high is None else (low, high)

    def _one(self, joules: float | None) -> float | None:
        return None if joules is None else joules / self.units


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of one unit, or why that is unknown."""

    energy_j: float | None
    low_j: float | None = None
    high_j: float | None = None
    reason: str | None = None


def less(whole: Spread, part: Spread) -> Left:
    """Return one unit of a window less one of another; unknown where either is, or they are of unlike kinds.

    The edges of two windows are independent, so their errors combine in quadrature. Modelled joules share their watts:
    both ends move together.
    """
    first, second = whole.joules, part.joules
    kinds = [(one.energy.source, one.energy.provenance, one.energy.scope) for one in (whole, part)]
    if first is None or second is None or kinds[0] != kinds[1]:
        return Left(None, reason=whole.energy.reason or part.energy.reason or UNLIKE)
    ours, theirs, value = whole.ends, part.ends, first - second
    if ours is None or theirs is None:
        return Left(value)
    if whole.energy.provenance == "modelled":
        low_j, high_j = sorted((ours[0] - theirs[0], ours[1] - theirs[1]))
        return Left(value, low_j, high_j)
    return Left(
        value,
        value - math.hypot(first - ours[0], theirs[1] - second),
        value + math.hypot(ours[1] - first, second - theirs[0]),
    )
