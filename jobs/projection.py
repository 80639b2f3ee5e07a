"""A function of a point that depends on a few axes only: evaluated once per combination of their patches. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Generic, TypeVar

from joulegrid.jobs.merge import overlap

Found = TypeVar("Found")
Digits = tuple[int, ...]
"""Which patch of each axis a point takes."""


class Projection(Generic[Found]):
    """`evaluate(digits)`, remembered by the digits of the given axes alone."""

    def __init__(self, axes: Sequence[int], evaluate: Callable[[Digits], Found]) -> None:
        self.axes = tuple(axes)
        self.known: dict[object, Found] = {}
        self._evaluate = evaluate
        self._pick: Callable[[Digits], object] = itemgetter(*self.axes) if self.axes else _nothing

    def __call__(self, digits: Digits) -> Found:
        """Return what was found for these digits, or evaluate it."""
        at = self._pick(digits)
        if at not in self.known:
            self.known[at] = self._evaluate(digits)
        return self.known[at]


def _nothing(digits: Digits) -> object:
    return ()


def touching(paths_of_axes: Iterable[Iterable[str]], reads: Iterable[str]) -> list[int]:
    """Return the axes that can change what stands at one of the paths `reads`."""
    read = tuple(reads)
    return [
        number
        for number, paths in enumerate(paths_of_axes)
        if any(overlap(path, other) for path in paths for other in read)
    ]
