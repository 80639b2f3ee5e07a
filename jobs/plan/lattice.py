"""The positions of a product of axes, and the strided runs of those that share some digits. Pure arithmetic.

A set of positions is a `bytearray` with a 1 for each member: so whole runs are counted, searched and cleared by
slices, and a million points cost milliseconds where a loop over them costs seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from math import prod

Digits = tuple[int, ...]
"""Which patch of each axis a point takes."""


class Lattice:
    """The positions 0 … n - 1 of a product; the last axis runs fastest."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)
        self.strides = tuple(prod(self.shape[number + 1 :]) for number in range(len(self.shape)))
        self.n_points = prod(self.shape)

    def digits(self, position: int) -> Digits:
        """Return the digits of a position."""
        found = []
        for stride in self.strides:
            digit, position = divmod(position, stride)
            found.append(digit)
        return tuple(found)

    def whole(self) -> bytearray:
        """Return the set of all positions."""
        return bytearray(b"\1") * self.n_points

    def offsets(self, axes: Sequence[int]) -> Iterator[int]:
        """Yield the positions whose digits on all other axes are 0, ascending where `axes` are."""
        steps = [range(0, self.shape[axis] * self.strides[axis], self.strides[axis]) for axis in axes]
        return map(sum, product(*steps))

    def fibres(self, axes: Iterable[int]) -> Fibres:
        """Divide the positions by their digits on `axes`."""
        chosen = sorted(axes)
        free = [axis for axis, size in enumerate(self.shape) if axis not in chosen and size > 1]
        run = max(_blocks(self.shape, free), key=lambda block: prod(self.shape[axis] for axis in block), default=[])
        outer = tuple(self.offsets([axis for axis in free if axis not in run]))
        step = self.strides[run[-1]] if run else 1
        return Fibres(self, tuple(chosen), outer, step, prod(self.shape[axis] for axis in run))


def _blocks(shape: Sequence[int], free: Sequence[int]) -> list[list[int]]:
    """Group free axes that only axes of one digit part: their positions make one strided run."""
    count, blocks = 0, []
    for axis, size in enumerate(shape):
        if axis in free:
            blocks.append((count, axis))
        elif size > 1:
            count += 1
    return [[axis for _, axis in group] for _, group in groupby(blocks, key=lambda pair: pair[0])]


@dataclass(frozen=True, slots=True)
class Fibres:
    """The positions of a lattice, divided by their digits on some axes; a fibre is a few runs of equal step."""

    lattice: Lattice
    axes: tuple[int, ...]
    outer: tuple[int, ...]
    """Where the runs of a fibre begin, from its first position."""
    step: int
    length: int

    def __iter__(self) -> Iterator[tuple[Digits, int]]:
        """Yield each fibre's digits on the axes, and its first position."""
        digits = product(*(range(self.lattice.shape[axis]) for axis in self.axes))
        return zip(digits, self.lattice.offsets(self.axes), strict=True)

    def first(self, members: bytearray, start: int) -> int | None:
        """Return a position of the fibre that begins at `start` and is a member; not always the least."""
        if members[start]:
            return start
        for offset in self.outer:
            found = members[self._run(start + offset)].find(1)
            if found >= 0:
                return start + offset + found * self.step
        return None

    def clear(self, members: bytearray, start: int) -> tuple[int, int]:
        """Take a fibre's positions out of the members; return how many there were, and the least of them."""
        count, least = 0, self.lattice.n_points
        for offset in self.outer:
            run = self._run(start + offset)
            part = members[run]
            found = part.count(1)
            if found:
                count += found
                least = min(least, start + offset + part.find(1) * self.step)
                members[run] = bytes(len(part))
        return count, least

    def _run(self, start: int) -> slice:
        return slice(start, start + self.step * (self.length - 1) + 1, self.step)
