"""The sweep grammar: from `sweep:`, `zip:` and `experiments:` to axes of patches. Pure; nothing is expanded here.

An axis is a tuple of patches, a patch maps dotted paths to values. A list, a dependent group and a zip are all
axes; a segment is the product of its axes over one base; point *i* of it is found by mixed radix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

from joulegrid.jobs.merge import leaves
from joulegrid.jsontypes import Json


@dataclass(frozen=True)
class Axis:
    """Alternatives of which each point takes one."""

    name: str
    patches: tuple[dict[str, Json], ...]

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Every dotted path that some patch sets, in the order of appearance."""
        return tuple(dict.fromkeys(path for patch in self.patches for path in patch))


@dataclass(frozen=True)
class Segment:
    """The product of axes; without axes it is one point, the base itself."""

    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return prod(len(axis.patches) for axis in self.axes)

    def digits(self, position: int) -> tuple[int, ...]:
        """Return which patch of each axis point `position` takes; the last axis runs fastest."""
        found = []
        for axis in reversed(self.axes):
            position, digit = divmod(position, len(axis.patches))
            found.append(digit)
        return tuple(reversed(found))


class GrammarError(ValueError):
    """A sweep that says nothing, or two things at once; the message is for the user."""


def segments(sweep: Mapping[str, Any], zips: Any, experiments: Sequence[Mapping[str, Any]] | None) -> list[Segment]:
    """Return the study's segments: the swept grid, then the explicit experiments; the base alone without either."""
    axes = [_axis(name, values) for name, values in sweep.items()] + _zip_axes(zips)
    _refuse_shared_paths(axes)
    found = [Segment(tuple(axes))] if axes else []
    if experiments:
        found.append(Segment((Axis("experiments", tuple(dict(leaves(one)) for one in experiments)),)))
    return found or [Segment(())]


def _axis(name: str, values: Any) -> Axis:
    if not isinstance(values, list):
        raise GrammarError(f"sweep.{name}: given {values!r}; give a list of values, e.g. [{values!r}]")
    if not values:
        raise GrammarError(f"sweep.{name}: the list is empty; give at least one value or remove the axis")
    if all(isinstance(value, Mapping) for value in values):
        return Axis(name, tuple(patch for value in values for patch in _small_grid(value)))
    if any(isinstance(value, Mapping) for value in values):
        raise GrammarError(
            f"sweep.{name}: mixes mappings with plain values; a group has mappings only ({{}} is the baseline)"
        )
    return Axis(name, tuple({name: value} for value in values))


def is_group(axis: Axis) -> bool:
    """Whether an axis is a dependent group, whose name is free, rather than a field's values."""
    return any(tuple(patch) != (axis.name,) for patch in axis.patches)


def _small_grid(entry: Mapping[str, Any]) -> list[dict[str, Json]]:
    """Expand one entry of a group: a list in it is an axis of its own."""
    flat = dict(leaves(entry))
    if any(value == [] for value in flat.values()):
        raise GrammarError(f"sweep: the entry {dict(entry)!r} has an empty list; give at least one value")
    choices = [value if isinstance(value, list) else [value] for value in flat.values()]
    return [dict(zip(flat, choice, strict=True)) for choice in product(*choices)]


def _zip_axes(zips: Any) -> list[Axis]:
    groups = zips if isinstance(zips, list) else [zips] if zips else []
    return [_zip_axis(f"zip{number}", group) for number, group in enumerate(groups)]


def _zip_axis(name: str, group: Any) -> Axis:
    if not isinstance(group, Mapping) or not all(isinstance(values, list) for values in group.values()):
        raise GrammarError("zip: give a mapping of dotted paths to lists of equal length (or a list of such mappings)")
    lengths = {path: len(values) for path, values in group.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{path} has {length}" for path, length in lengths.items())
        raise GrammarError(f"zip: the lists differ in length ({told}); zipped axes need equal lengths")
    if not any(lengths.values()):
        raise GrammarError("zip: the lists are empty; give at least one value each")
    rows = zip(*group.values(), strict=True)
    return Axis(name, tuple(dict(zip(group, row, strict=True)) for row in rows))


def _refuse_shared_paths(axes: Sequence[Axis]) -> None:
    owner: dict[str, str] = {}
    for axis in axes:
        for path in axis.paths:
            rival = next((other for other in owner if _overlap(path, other)), None)
            if rival is not None:
                raise GrammarError(f"{path}: set by two axes, {owner[rival]!r} and {axis.name!r}; one path, one axis")
        owner |= dict.fromkeys(axis.paths, axis.name)


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")
