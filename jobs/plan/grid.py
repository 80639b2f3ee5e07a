"""The sweep grammar: from `sweep:`, `zip:` and `experiments:` to axes of patches. Pure; nothing is expanded here.

An axis is a tuple of patches, a patch maps dotted paths to values. A list, a dependent group and a zip are all
axes; a segment is the product of its axes over one base; point *i* of it is found by mixed radix.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

from joulegrid.jobs.plan.merge import leaves, nested, overlap
from joulegrid.jsontypes import Json

MAX_POINTS = 20_000_000
"""More points than this are refused: they take a byte each and up to a minute to sort, and running them years."""


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

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of alternatives of each axis."""
        return tuple(len(axis.patches) for axis in self.axes)

    @property
    def paths(self) -> list[list[str]]:
        """Of each axis: the paths that it sets, sorted."""
        return [sorted(axis.paths) for axis in self.axes]

    @property
    def n_points(self) -> int:
        """Number of points, refused and equivalent ones included."""
        return prod(self.shape)

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
        found.append(Segment((Axis("experiments", tuple(dict(leaves(nested(one))) for one in experiments)),)))
    n_points = sum(one.n_points for one in found)
    if n_points > MAX_POINTS:
        raise GrammarError(
            f"sweep: {n_points:,} points; a study may have {MAX_POINTS:,} at most, so shorten or remove an axis"
        )
    return found or [Segment(())]


def _axis(name: str, values: Any) -> Axis:
    if not isinstance(values, list):
        example = f"[{shown(values)}]"
        if isinstance(values, Mapping) and {"low", "high"} & values.keys():
            raise GrammarError(
                f"sweep.{name}: a range needs a section `search:` that draws from it; else list its values"
            )
        if isinstance(values, Mapping) and values:
            example = f"{name}.{next(leaves(values))[0]}: [ … ], one dotted path for each axis"
        raise GrammarError(f"sweep.{name}: given {shown(values)}; give a list of values, e.g. {example}")
    if not values:
        raise GrammarError(f"sweep.{name}: the list is empty; give at least one value or remove the axis")
    if all(isinstance(value, Mapping) for value in values):
        return Axis(name, tuple(patch for value in values for patch in _small_grid(value)))
    if any(isinstance(value, Mapping) for value in values):
        raise GrammarError(
            f"sweep.{name}: mixes mappings with plain values; a group has a free name and mappings only, "
            f"e.g. {name.rpartition('.')[2]}_choice: [{{}}, {{{name}: …}}] ({{}} is the baseline)"
        )
    return Axis(name, tuple({name: value} for value in values))


def is_group(axis: Axis) -> bool:
    """Whether an axis is a dependent group, whose name is free, rather than a field's values."""
    return any(tuple(patch) != (axis.name,) for patch in axis.patches)


def _small_grid(entry: Mapping[str, Any]) -> list[dict[str, Json]]:
    """Expand one entry of a group: a list in it is an axis of its own."""
    flat = dict(leaves(nested(entry)))
    if any(value == [] for value in flat.values()):
        raise GrammarError(f"sweep: the entry {shown(dict(entry))} has an empty list; give at least one value")
    choices = [value if isinstance(value, list) else [value] for value in flat.values()]
    if prod(map(len, choices)) > MAX_POINTS:
        raise GrammarError(f"sweep: one entry of a group has {prod(map(len, choices)):,} points; shorten its lists")
    return [dict(zip(flat, choice, strict=True)) for choice in product(*choices)]


def _zip_axes(zips: Any) -> list[Axis]:
    groups = zips if isinstance(zips, list) else [zips] if zips else []
    return [_zip_axis(f"zip{number}", group) for number, group in enumerate(groups)]


def _zip_axis(name: str, group: Any) -> Axis:
    group = dict(leaves(nested(group))) if isinstance(group, Mapping) else group
    if not isinstance(group, dict) or not all(isinstance(values, list) for values in group.values()):
        raise GrammarError(
            f"zip: given {shown(group)}; give a mapping of dotted paths to lists of equal length "
            "(or a list of such mappings)"
        )
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
            rival = next((other for other in owner if overlap(path, other)), None)
            if rival is not None:
                raise GrammarError(f"{path}: set by two axes, {owner[rival]!r} and {axis.name!r}; one path, one axis")
        owner |= dict.fromkeys(axis.paths, axis.name)


def shown(value: Json, limit: int = 80) -> str:
    """Say a value as YAML writes it, in one line, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
