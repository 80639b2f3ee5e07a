"""Equivalent points: of those with one identity the first accepted one stays. Looks only where two can be alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from heapq import merge
from itertools import compress, product
from operator import xor

from joulegrid.jobs.plan.identity import mark
from joulegrid.jobs.plan.merge import overlap
from joulegrid.jobs.plan.region import Marks, Region
from joulegrid.jsontypes import Json

_INNER = 1 << 16
"""Positions that are laid out beforehand; more would cost more than the points themselves."""


@dataclass(frozen=True, slots=True)
class Fibre:
    """The points of a region that agree on the deciding axes."""

    start: int
    """The first of them."""
    marks: Marks


def thin(region: Region, accepted: bytearray) -> int:
    """Take out of the accepted points of a region all but the first of each identity; return how many."""
    groups: dict[int, list[Fibre]] = {}
    first = next(_fibres(region, accepted), None)
    if first is None or (region.decided_by_inputs and first[1].marks.all_differ(range(len(region.lattice.shape)))):
        return 0
    for fixed, fibre in _fibres(region, accepted):
        groups.setdefault(fixed, []).append(fibre)
    seen = bytearray(region.lattice.n_points)
    return sum(_thin_group(_Points(region), fibres, accepted, seen) for fibres in groups.values())


def _fibres(region: Region, accepted: bytearray) -> Iterator[tuple[int, Fibre]]:
    """Yield each fibre with an accepted point, and the mark of all that its points have in common."""
    divided = region.lattice.fibres(region.deciding)
    for picked, start in divided:
        position = divided.first(accepted, start)
        if position is not None:
            common, marks = region.marks(region.lattice.digits(position))
            own = (marks.of(axis)[digit] for axis, digit in zip(region.deciding, picked, strict=True))
            yield reduce(xor, own, common), Fibre(start, marks)


def _thin_group(points: _Points, fibres: list[Fibre], accepted: bytearray, seen: bytearray) -> int:
    """Thin fibres whose points can be alike, because all that they have in common is."""
    first = fibres[0].marks
    if len(fibres) == 1 and first.all_differ(points.region.free):
        return 0
    if any(fibre.marks is not first for fibre in fibres):
        return _thin_by_mark(points, fibres, accepted)
    found = 0
    start = fibres[0].start
    for position, alike in merge(*(points.alike(fibre, start) for fibre in fibres)):
        if accepted[position]:
            if seen[alike]:
                accepted[position] = 0
                found += 1
            seen[alike] = 1
    return found


def _thin_by_mark(points: _Points, fibres: list[Fibre], accepted: bytearray) -> int:
    """Where fibres leave out different fields, a patch's number tells nothing: the marks themselves are compared."""
    found, seen = 0, set()
    for position, one in merge(*(points.marked(fibre) for fibre in fibres)):
        if accepted[position]:
            if one in seen:
                accepted[position] = 0
                found += 1
            seen.add(one)
    return found


@dataclass(slots=True)
class _Points:
    """Walks over the points of a fibre, in ascending order."""

    region: Region
    _outer: list[int] = field(init=False)
    _inner: list[int] = field(init=False)

    def __post_init__(self) -> None:
        shape, axes = self.region.lattice.shape, list(self.region.free)
        self._inner, size = [], 1
        while axes and size * shape[axes[-1]] <= _INNER:
            size *= shape[axes[-1]]
            self._inner.insert(0, axes.pop())
        self._outer = axes

    def alike(self, fibre: Fibre, start: int) -> Iterator[tuple[int, int]]:
        """Yield each position with that of the first point alike, in the fibre that begins at `start`."""
        strides, first = self.region.lattice.strides, fibre.marks.first
        position = self._walk(lambda axis, digit: digit * strides[axis])
        alike = self._walk(lambda axis, digit: first(axis)[digit] * strides[axis])
        for (outer, inner), (outer_alike, inner_alike) in zip(position, alike, strict=True):
            yield from zip(
                (fibre.start + outer + one for one in inner),
                (start + outer_alike + one for one in inner_alike),
                strict=True,
            )

    def marked(self, fibre: Fibre) -> Iterator[tuple[int, int]]:
        """Yield each position with the mark of what its free axes say."""
        strides, axes = self.region.lattice.strides, self.region.free
        of = [fibre.marks.of(axis) for axis in axes]
        for digits in product(*(range(len(marks)) for marks in of)):
            position = fibre.start + sum(digit * strides[axis] for axis, digit in zip(axes, digits, strict=True))
            yield position, reduce(xor, (marks[digit] for marks, digit in zip(of, digits, strict=True)), 0)

    def _walk(self, term: Callable[[int, int], int]) -> Iterator[tuple[int, list[int]]]:
        """Yield the sum of the outer axes' terms, with the sums of the inner ones' (one list, again and again)."""
        inner = list(self._sums(self._inner, term))
        return ((outer, inner) for outer in self._sums(self._outer, term))

    def _sums(self, axes: Iterable[int], term: Callable[[int, int], int]) -> Iterator[int]:
        shape = self.region.lattice.shape
        return map(sum, product(*([term(axis, digit) for digit in range(shape[axis])] for axis in axes)))


@dataclass(frozen=True, slots=True)
class _Sought:
    """An accepted point that may be alike to one of an earlier region."""

    position: int
    free: Mapping[int, int]
    """Free axis of the earlier region → mark of what the point says on that axis' paths."""


def thin_against(region: Region, accepted: bytearray, earlier: Region, earlier_accepted: bytearray) -> int:
    """Take out the accepted points whose identity an accepted point of an earlier region has; return how many."""
    sought: dict[int, list[_Sought]] = {}
    for position in compress(range(len(accepted)), accepted):
        fixed, one = _split(region, position, earlier)
        sought.setdefault(fixed, []).append(one)
    found = 0
    for fixed, fibre in _fibres(earlier, earlier_accepted):
        for one in sought.get(fixed, ()):
            if accepted[one.position] and any(earlier_accepted[at] for at in _alike(one, fibre, earlier)):
                accepted[one.position] = 0
                found += 1
    return found


def _split(region: Region, position: int, earlier: Region) -> tuple[int, _Sought]:
    """Return the mark of what an earlier region's fibre would say of a point, and the marks of the rest by axis."""
    digits = region.lattice.digits(position)
    parts: dict[int | None, dict[str, Json]] = {axis: {} for axis in earlier.free}
    for path, value in region.effective(digits).items():
        parts.setdefault(_owner(path, earlier), {})[path] = value
    fixed = region.read_mark(digits) ^ mark(parts.pop(None, {}).items())
    return fixed, _Sought(position, {axis: mark(said.items()) for axis, said in parts.items() if axis is not None})


def _owner(path: str, region: Region) -> int | None:
    return next((axis for axis in region.free if any(overlap(path, one) for one in region.typed.paths[axis])), None)


def _alike(one: _Sought, fibre: Fibre, earlier: Region) -> Iterator[int]:
    """Yield the positions of a fibre whose identity is the sought one's."""
    strides = earlier.lattice.strides
    steps = [
        [digit * strides[axis] for digit, its in enumerate(fibre.marks.of(axis)) if its == sought]
        for axis, sought in one.free.items()
    ]
    return (fibre.start + sum(offsets) for offsets in product(*steps))
