"""The grammar with typed values: each patch is validated once, in the company of the shared fields.

Where an axis touches a shared field, that field moves into the axis' patches. So what the base and the axes of a
segment say are disjoint sets of paths, and a point is their union.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from joulegrid.cases.contract import ExperimentConfig
from joulegrid.jobs.plan.grid import Axis, Segment, shown
from joulegrid.jobs.plan.merge import deep_merge, leaves, lookup, nested, overlap, within
from joulegrid.jobs.plan.plain_axis import PlainAxis
from joulegrid.jobs.study.schema import coerced, defaults, expanded, explained, fits
from joulegrid.jsontypes import Json

MANY_PATCHES = 100
"""From here on plain values are typed the short way."""
Fault = tuple[str, str]
"""Dotted path → what is wrong there."""


@dataclass(frozen=True, slots=True)
class Patch:
    """What one alternative of an axis says, defaults left out, or why it is refused."""

    values: dict[str, Json]
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class TypedSegment:
    """A segment of the grammar with typed values."""

    base: dict[str, Json]
    """What no axis touches, defaults left out."""
    axes: tuple[tuple[Patch, ...], ...]
    paths: tuple[tuple[str, ...], ...]
    """Of each axis: everything that its patches may set."""
    faults: tuple[Fault, ...]
    """Faults of the shared fields that no axis of this segment can mend."""

    @property
    def said(self) -> list[list[dict[str, Json]]]:
        """Axis → patch → what it says."""
        return [[patch.values for patch in axis] for axis in self.axes]


class Typing:
    """Types one segment of a study's grammar over its shared fields (a nested mapping)."""

    def __init__(self, model: type[ExperimentConfig], shared: Mapping[str, Any], segment: Segment) -> None:
        self._model = model
        self._shared = shared = expanded(model, shared)
        self._axes = segment.axes
        self._defaults = defaults(model)
        below = [path for axis in self._axes for path in axis.paths]
        said = [  # an empty mapping above an axis says nothing, and would belong to all axes below it
            path
            for path, value in leaves(shared)
            if value != {} or not any(within(one, path) and one != path for one in below)
        ]
        self._paths = [
            (*axis.paths, *(p for p in said if _touches(axis, p) and p not in axis.paths)) for axis in self._axes
        ]
        self._free = [path for path in said if not any(_touches(axis, path) for axis in self._axes)]

    def typed(self) -> TypedSegment:
        """Return the typed segment; nothing is raised, faults are part of it."""
        dumped, faults = self._filled
        own = [fault for fault in faults if not self._is_mended(fault[0])]
        own += [
            (path, f"{path}: given {shown(value)}; give a mapping of keys to values") for path, value in self._misfits()
        ]
        base = self._extracted(self._free, dumped, self._shared)
        axes = tuple(self._axis(number) for number in range(len(self._axes)))
        return TypedSegment(base, axes, tuple(self._paths), tuple(own))

    @cached_property
    def _fill(self) -> list[int]:
        """One patch of each axis such that together they are valid, where that is found by going on from a fault."""
        fill = [0] * len(self._axes)
        while True:
            _, faults = self._validated(self._merged(fill))
            blamed = [
                number
                for number, axis in enumerate(self._axes)
                if fill[number] + 1 < len(axis.patches) and any(_touches(axis, path) for path, _ in faults)
            ]
            if not blamed:
                return fill
            fill[blamed[-1]] += 1

    @cached_property
    def _filled(self) -> tuple[dict[str, Any] | None, list[Fault]]:
        return self._validated(self._merged(self._fill))

    def _axis(self, number: int) -> tuple[Patch, ...]:
        context = self._merged(self._fill, without=number)
        axis, paths = self._axes[number], self._paths[number]
        if len(axis.patches) < MANY_PATCHES or len(paths) > 1 or any(tuple(patch) != paths for patch in axis.patches):
            return tuple(self._patch(number, context, patch) for patch in axis.patches)
        (path,), short = paths, PlainAxis(self._model, context, paths[0])
        found = ((patch, short.typed(patch[path])) for patch in axis.patches)
        return tuple(
            self._patch(number, context, patch) if typed is None else self._plain(path, *typed)
            for patch, typed in found
        )

    def _plain(self, path: str, value: Json) -> Patch:
        return Patch({path: value} if self._is_said(path, value) else {})

    def _patch(self, number: int, context: Mapping[str, Any], patch: Mapping[str, Json]) -> Patch:
        merged = deep_merge(context, expanded(self._model, nested(patch)))
        dumped, faults = self._validated(merged)
        paths = self._paths[number]
        present = [path for path, _ in leaves(merged) if any(overlap(path, one) for one in paths)]
        mine = [said for path, said in faults if any(within(path, one) for one in paths)]
        return Patch(self._extracted(present, dumped, merged), "; ".join(mine) or None)

    def _merged(self, fill: Sequence[int], without: int | None = None) -> dict[str, Any]:
        """The shared fields with one patch of each axis, so that nothing is missing."""
        mapping = dict(self._shared)
        for number, axis in enumerate(self._axes):
            if number != without:
                mapping = deep_merge(mapping, expanded(self._model, nested(axis.patches[fill[number]])))
        return mapping

    def _validated(self, mapping: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[Fault]]:
        try:
            return self._model.model_validate(mapping).model_dump(mode="json"), []
        except ValidationError as error:
            return None, explained(self._model, error)

    def _extracted(
        self, paths: Iterable[str], dumped: Mapping[str, Any] | None, given: Mapping[str, Any]
    ) -> dict[str, Json]:
        """Return the leaves at some paths, typed, without those that say the default."""
        if dumped is None:
            found = {path: coerced(self._model, path, lookup(given, path)) for path in paths}
        else:
            found = {path: lookup(dumped, path) for path in paths}
        typed = dict(leaves(nested(found)))
        return {path: value for path, value in typed.items() if self._is_said(path, value)}

    def _misfits(self) -> list[tuple[str, Json]]:
        """Shared values that an axis hides because it sets something below them, and that were no use anyway."""
        below = [path for axis in self._axes for path in axis.paths]
        hidden = [
            (path, value) for path, value in leaves(self._shared) if any(one.startswith(path + ".") for one in below)
        ]
        return [(path, value) for path, value in hidden if value != {} and not fits(self._model, path, value)]

    def _is_said(self, path: str, value: Json) -> bool:
        return path not in self._defaults or self._defaults[path] != value

    def _is_mended(self, path: str) -> bool:
        return any(_touches(axis, path) for axis in self._axes)


def _touches(axis: Axis, path: str) -> bool:
    return any(overlap(path, one) for one in axis.paths)
