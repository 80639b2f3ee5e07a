"""A function of a point that depends on a few axes only: evaluated once per combination of what these say. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from joulegrid.jobs.identity import canonical
from joulegrid.jobs.lattice import Digits
from joulegrid.jobs.merge import overlap, within
from joulegrid.jsontypes import Json

Found = TypeVar("Found")
KNOWN_LIMIT = 16_384
"""Combinations that are remembered; beyond that the oldest is forgotten and would be evaluated again."""
NAMES = ".*"
"""Ending of a path in `reads` that stands for the names below it: their values change nothing."""


class Projection(Generic[Found]):
    """`evaluate(digits)`, remembered by the classes of the digits on some axes.

    `classes` maps an axis to the class of each of its patches; patches of one class make no difference.
    """

    def __init__(self, classes: Mapping[int, Sequence[int]], evaluate: Callable[[Digits], Found]) -> None:
        self._classes = {axis: of for axis, of in classes.items() if any(of)}
        self.axes = tuple(self._classes)
        self._tables = list(self._classes.values())
        self._known: dict[Digits, Found] = {}
        self._evaluate = evaluate

    def __call__(self, digits: Digits) -> Found:
        """Return what was found for these digits, or evaluate it."""
        return self.at([digits[axis] for axis in self.axes], lambda: digits)

    def at(self, picked: Sequence[int], digits: Callable[[], Digits]) -> Found:
        """Return what holds for the digits `picked` on the axes; `digits` is asked for a whole point if need be."""
        key = tuple([of[digit] for of, digit in zip(self._tables, picked, strict=True)])
        if key not in self._known:
            found = self._evaluate(digits())
            if len(self._known) >= KNOWN_LIMIT:
                del self._known[next(iter(self._known))]
            self._known[key] = found
        return self._known[key]


def touching(paths_of_axes: Iterable[Iterable[str]], reads: Iterable[str]) -> list[int]:
    """Return the axes that can change what stands at one of the paths `reads`."""
    read = [path.removesuffix(NAMES) for path in reads]
    return [
        number
        for number, paths in enumerate(paths_of_axes)
        if any(overlap(path, other) for path in paths for other in read)
    ]


def classes(patches: Sequence[Mapping[str, Json]], reads: Sequence[str]) -> list[int]:
    """Return a number for each patch of an axis, equal where `reads` finds the same in them; the first has 0."""
    known: dict[str, int] = {}
    return [known.setdefault(canonical(_seen(values, reads)), len(known)) for values in patches]


def _seen(values: Mapping[str, Json], reads: Sequence[str]) -> dict[str, Json]:
    seen: dict[str, Json] = {}
    for path, value in values.items():
        if any(overlap(path, read) for read in reads if not read.endswith(NAMES)):
            seen[path] = value
        else:
            for section in (read.removesuffix(NAMES) for read in reads if read.endswith(NAMES)):
                seen |= _name_below(path, value, section)
    return seen


def _name_below(path: str, value: Json, section: str) -> dict[str, Json]:
    """What a reader of names sees of one leaf: the first name below the section, or the section's own value."""
    if path == section or not within(path, section):
        return {path: value} if overlap(path, section) else {}
    name = path[len(section) + 1 :].partition(".")[0]
    return {f"{section}.{name}": None}
