"""Sorts the points of a region into accepted, refused and equivalent, without walking over them one by one.

A gate is asked once for each combination of the digits that it depends on; the points of a refused combination are
taken out as strided runs. So the cost grows with the combinations of single gates, not with the points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from joulegrid.jobs.plan.duplicates import thin, thin_against
from joulegrid.jobs.plan.projection import Found, Projection
from joulegrid.jobs.plan.region import Gate, Region
from joulegrid.jobs.plan.selection import Selection


@dataclass(slots=True)
class Refused:
    """The points that are refused for one reason."""

    reason: str
    count: int
    first: int
    """Number of the first of them, among all points of the plan."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """What was refused so far, by reason."""

    by_reason: dict[str, Refused] = field(default_factory=dict)

    def add(self, reason: str, count: int, first: int) -> None:
        """Count points that a gate refused."""
        known = self.by_reason.setdefault(reason, Refused(reason, 0, first))
        known.count += count
        known.first = min(known.first, first)

    def ordered(self) -> list[Refused]:
        """Return the reasons in the order of their first points."""
        return sorted(self.by_reason.values(), key=lambda one: one.first)


@dataclass(frozen=True, slots=True)
class Scanned:
    """A region and its accepted points."""

    region: Region
    offset: int
    """Number of the region's first point among all points of the plan."""
    accepted: Selection

    def each(self, projection: Projection[Found]) -> set[Found]:
        """Return everything that a projection says of accepted points."""
        lattice, members = self.region.lattice, self.accepted.members
        fibres = lattice.fibres(projection.axes)
        found = (fibres.first(members, start) for _, start in fibres)
        return {projection(lattice.digits(position)) for position in found if position is not None}


def scanned(
    region: Region, earlier: Sequence[Scanned], refusals: Refusals, *, deduplicate: bool
) -> tuple[Scanned, int]:
    """Return the accepted points of a region, and how many more are equivalent to an accepted one before them."""
    offset = sum(part.region.lattice.n_points for part in earlier)
    members = region.lattice.whole()
    for gate in region.gates:
        for reason, count, first in _refused(gate, region, members):
            refusals.add(reason, count, offset + first)
    n_equal = 0
    if deduplicate:
        n_equal = thin(region, members)
        n_equal += sum(thin_against(region, members, part.region, part.accepted.members) for part in earlier)
    return Scanned(region, offset, Selection(members)), n_equal


def _refused(gate: Gate, region: Region, members: bytearray) -> Iterator[tuple[str, int, int]]:
    """Take out of the members what a gate refuses; yield reason, number and first position."""
    lattice = region.lattice
    fibres = lattice.fibres(gate.axes)
    for picked, start in fibres:
        position = fibres.first(members, start)
        if position is None:
            continue
        reason = gate.at(picked, lambda: lattice.digits(position))  # noqa: B023 - called before the next round
        if reason is not None:
            yield reason, *fibres.clear(members, start)
