"""A function of a point that depends on a few axes only: evaluated once per combination of what these say. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from joulegrid.jobs.plan.lattice import Digits
from joulegrid.jobs.plan.merge import overlap, within
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
        self.classes = {axis: of for axis, of in classes.items() if any(of)}
        self.axes = tuple(self.classes)
        self._tables = list(self.classes.values())
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
    """Return a number for each patch of an axis, equal only where `reads` finds the same in them; the first has 0."""
    fields = [path for path in reads if not path.endswith(NAMES)]
    sections = [path.removesuffix(NAMES) for path in reads if path.endswith(NAMES)]
    paths = dict.fromkeys(path for values in patches for path in values)
    whole = {path for path in paths if any(overlap(path, one) for one in fields)}
    named = {path: [_below(path, section) for section in sections if overlap(path, section)] for path in paths}
    known: dict[str, int] = {}
    return [known.setdefault(_seen(values, whole, named), len(known)) for values in patches]


def _seen(values: Mapping[str, Json], whole: set[str], named: Mapping[str, list[str | None]]) -> str:
    seen: dict[str, Json] = {}
    for path, value in values.items():
        if path in whole or None in named[path]:
            seen[path] = value
        else:
            seen |= dict.fromkeys(filter(None, named[path]))
    return repr(seen)


def _below(path: str, section: str) -> str | None:
    """Return the path of the first name below a section; `None` where a leaf is the section itself or above it."""
    if path == section or not within(path, section):
        return None
    return f"{section}.{path[len(section) + 1 :].partition('.')[0]}"
