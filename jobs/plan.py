"""The lazy plan: which points a study has, which are refused or equivalent, and each one's identity.

Point *i* is computed when it is asked for; kept are 8 bytes for each accepted point. Hardware is never looked at.
Pydantic validates each patch once, rules and inputs are evaluated once per combination of the fields they read.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from joulegrid.cases.contract import ExperimentConfig, Input, Places, Workload
from joulegrid.cases.registry import workload_named
from joulegrid.errors import UsageError
from joulegrid.jobs.grid import Axis, Segment
from joulegrid.jobs.merge import deep_merge, leaves, lookup, nested
from joulegrid.jobs.schema import defaults, error_path, explain
from joulegrid.jobs.study import StudyConfig
from joulegrid.jsontypes import Json


@dataclass(frozen=True, slots=True)
class Skipped:
    """Points refused for one reason."""

    reason: str
    count: int
    example: str
    """Label of the first such point."""


@dataclass(frozen=True, slots=True)
class Point:
    """One accepted point of the plan."""

    index: int
    """Its number among the accepted points."""
    values: dict[str, Json]
    """Dotted path → value of every field that differs from its default."""
    axes: dict[str, Json]
    """Dotted path → value of every field that the study varies."""
    key: str
    label: str
    config: ExperimentConfig
    inputs: dict[str, Input]


@dataclass(frozen=True, slots=True)
class _Patch:
    """A validated patch: what it sets, or why it is refused."""

    values: Mapping[str, Json]
    paths: tuple[str, ...]
    refusal: str | None = None


@dataclass
class _Projection:
    """A function of a few fields, evaluated once per combination of their values."""

    reads: tuple[str, ...]
    evaluate: Callable[[Mapping[str, Json]], Any]
    known: dict[str, Any] = field(default_factory=dict)

    def __call__(self, values: Mapping[str, Json], given: Mapping[str, Json]) -> Any:
        at = canonical([values[path] if path in values else given.get(path) for path in self.reads])
        if at not in self.known:
            self.known[at] = self.evaluate(values)
        return self.known[at]


def canonical(value: Json) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def digest(value: Json) -> str:
    """Return the first 16 hex digits of the sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


class Plan:
    """The points of a study. `UsageError` where the shared fields are wrong or every point is refused."""

    def __init__(self, study: StudyConfig) -> None:
        self.study = study
        self.workload: Workload = workload_named(study.experiment.get("workload", "inference"))
        self.places = Places(study.folder)
        self.segments = study.segments()
        self._defaults = defaults(self.workload.Config)
        self._check_shared_fields()
        self._patches = [[self._validated(segment, axis) for axis in segment.axes] for segment in self.segments]
        self._rules = [self._rule(rule.reads, rule.check) for rule in self.workload.rules]
        self._ignored = [(one.fields, self._rule(one.reads, one.when)) for one in self.workload.ignored]
        self._inputs = _Projection(tuple(self.workload.input_fields), self._resolve_inputs)
        self.skipped: list[Skipped] = []
        self.n_duplicates = 0
        self._accepted = array("Q")
        self._scan()

    def __len__(self) -> int:
        return len(self._accepted)

    def __iter__(self) -> Iterator[Point]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Point:
        segment, position = self._place(self._accepted[index])
        values = self._values(segment, position)
        effective = self._without_ignored(values)
        inputs: dict[str, Input] = self._inputs(values, self._defaults)
        return Point(
            index=index,
            values=values,
            axes={path: self._value(values, path) for path in self.varied},
            key=self._key(effective, inputs, segment, position),
            label=self.label(values),
            config=self._config(values),
            inputs=inputs,
        )

    @property
    def n_points(self) -> int:
        """All points of the grammar, refused and equivalent ones included."""
        return sum(len(segment) for segment in self.segments)

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """Dotted paths that some axis or explicit point sets."""
        return tuple(dict.fromkeys(path for one in self.segments for axis in one.axes for path in axis.paths))

    @cached_property
    def study_design_hash(self) -> str:
        """16 hex digits of the grammar with typed values; `execution`, `output` and `power` are no part of it."""
        sides = [[[dict(patch.values) for patch in axis] for axis in segment] for segment in self._patches]
        shared = {path: value for path, value in self._shared_values.items() if self._is_said(path, value)}
        design = {"shared": shared, "segments": sides, "deduplicate": self.study.deduplicate}
        return digest({**design, "workload": self.workload.name})

    @cached_property
    def inputs_hash(self) -> str:
        """16 hex digits of everything that the accepted points read."""
        found = {
            one.fingerprint
            for known in self._inputs.known.values()
            if isinstance(known, dict)
            for one in known.values()
        }
        return digest(sorted(found))

    @cached_property
    def resources(self) -> list[tuple[int | None, int | None]]:
        """The distinct (gpus, cpus) that the accepted points ask for."""
        pairs = set()
        for number in self._accepted:
            values = self._values(*self._place(number))
            pairs.add((self._value(values, "resources.gpus"), self._value(values, "resources.cpus")))
        return sorted(pairs, key=str)

    def label(self, values: Mapping[str, Json]) -> str:
        """Name a point by its varied fields: `batch_size=8 precision=fp16`."""
        names = _short_names(self.varied)
        shown = [f"{names[path]}={_shown(self._value(values, path))}" for path in self.varied]
        return " ".join(shown) or self.study.study_name

    def point_labels(self) -> Iterator[tuple[int, str]]:
        """Yield (index, label) of every accepted point, cheaply."""
        for index, number in enumerate(self._accepted):
            yield index, self.label(self._values(*self._place(number)))

    # -- scanning ------------------------------------------------------------------------------------------

    def _scan(self) -> None:
        refused: dict[str, list[Any]] = {}
        seen: set[int] = set()
        for number in range(self.n_points):
            segment, position = self._place(number)
            reason = self._refusal(segment, position)
            if reason is not None:
                group = refused.setdefault(reason, [0, self.label(self._values(segment, position))])
                group[0] += 1
            elif self._is_new(segment, position, seen):
                self._accepted.append(number)
            else:
                self.n_duplicates += 1
        self.skipped = [Skipped(reason, count, example) for reason, (count, example) in refused.items()]
        if not self._accepted:
            told = "\n".join(f"  {one.count} × {one.reason} (e.g. {one.example})" for one in self.skipped)
            raise UsageError(f"every point of the study is refused, nothing is left to run:\n{told}")

    def _refusal(self, segment: int, position: int) -> str | None:
        for patches, digit in zip(self._patches[segment], self._digits(segment, position), strict=True):
            if patches[digit].refusal is not None:
                return patches[digit].refusal
        values = self._values(segment, position)
        for rule in self._rules:
            reason: str | None = rule(values, self._defaults)
            if reason is not None:
                return reason
        inputs = self._inputs(values, self._defaults)
        return inputs if isinstance(inputs, str) else None

    def _is_new(self, segment: int, position: int, seen: set[int]) -> bool:
        if not self.study.deduplicate:
            return True
        effective = self._without_ignored(self._values(segment, position))
        mark = int(digest(effective), 16)
        if mark in seen:
            return False
        seen.add(mark)
        return True

    # -- a point's values -----------------------------------------------------------------------------------

    def _place(self, number: int) -> tuple[int, int]:
        for index, segment in enumerate(self.segments):
            if number < len(segment):
                return index, number
            number -= len(segment)
        raise IndexError(number)

    def _digits(self, segment: int, position: int) -> tuple[int, ...]:
        return self.segments[segment].digits(position)

    def _chosen(self, segment: int, position: int) -> Iterable[_Patch]:
        digits = self._digits(segment, position)
        return [patches[digit] for patches, digit in zip(self._patches[segment], digits, strict=True)]

    def _values(self, segment: int, position: int) -> dict[str, Json]:
        values = dict(self._shared_values)
        for patch in self._chosen(segment, position):
            for path in patch.paths:
                for stale in [known for known in values if known == path or known.startswith(path + ".")]:
                    del values[stale]
            values.update(patch.values)
        return {path: value for path, value in values.items() if self._is_said(path, value)}

    def _is_said(self, path: str, value: Json) -> bool:
        return path not in self._defaults or self._defaults[path] != value

    def _value(self, values: Mapping[str, Json], path: str) -> Json:
        if path in values:
            return values[path]
        if path in self._defaults:
            return self._defaults[path]
        return lookup(nested(self._defaults | dict(values)), path)

    def _without_ignored(self, values: dict[str, Json]) -> dict[str, Json]:
        dropped = {path for fields, when in self._ignored if when(values, self._defaults) for path in fields}
        return {path: value for path, value in values.items() if path not in dropped}

    def _key(self, values: dict[str, Json], inputs: Mapping[str, Input], segment: int, position: int) -> str:
        read = {path: one.fingerprint for path, one in inputs.items()}
        identity: dict[str, Json] = {"values": values | read, "workload": [self.workload.name, self.workload.revision]}
        if not self.study.deduplicate:
            identity["point"] = [segment, position]
        return digest(identity)

    def _config(self, values: Mapping[str, Json]) -> ExperimentConfig:
        return self.workload.Config.model_validate(nested(values))

    # -- validation -----------------------------------------------------------------------------------------

    @cached_property
    def _shared(self) -> dict[str, Any]:
        return {"workload": self.workload.name, **self.study.experiment}

    @cached_property
    def _shared_values(self) -> dict[str, Json]:
        """The shared fields, typed by validating them together with the first patch of each axis."""
        said = [path for path, _ in leaves(self._shared)]
        return self._typed_values(self._filled(self.segments[0], None, {}), said)

    def _check_shared_fields(self) -> None:
        """Refuse the study where a fault lies in a field that no axis sets."""
        try:
            self._shared_values  # noqa: B018 - computed for its errors
        except ValidationError as error:
            problems = [
                explain(dict(one)) for one in error.errors() if not _covered(error_path(dict(one)), self.varied)
            ]
            if problems:
                raise UsageError("\n".join(problems)) from error
            self.__dict__["_shared_values"] = dict(leaves(self._shared))

    def _validated(self, segment: Segment, axis: Axis) -> list[_Patch]:
        return [self._patch(segment, axis, patch) for patch in axis.patches]

    def _patch(self, segment: Segment, axis: Axis, patch: Mapping[str, Json]) -> _Patch:
        paths = tuple(patch)
        try:
            return _Patch(self._typed_values(self._filled(segment, axis, patch), paths), paths)
        except ValidationError as error:
            found = [explain(dict(one)) for one in error.errors() if _covered(error_path(dict(one)), paths)]
            return _Patch(dict(patch), paths, "; ".join(found) or None)

    def _filled(self, segment: Segment, axis: Axis | None, patch: Mapping[str, Json]) -> dict[str, Any]:
        """The shared fields with this patch and the first patch of each other axis, so that nothing is missing."""
        mapping = self._shared
        for other in segment.axes:
            mapping = deep_merge(mapping, nested(patch if other is axis else other.patches[0]))
        return mapping

    def _typed_values(self, mapping: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Json]:
        dumped = self.workload.Config.model_validate(mapping).model_dump(mode="json")
        return dict(leaves(nested({path: lookup(dumped, path) for path in paths})))

    def _rule(self, reads: tuple[str, ...], check: Callable[..., Any]) -> _Projection:
        return _Projection(reads, lambda values: check(*(self._value(values, path) for path in reads)))

    def _resolve_inputs(self, values: Mapping[str, Json]) -> dict[str, Input] | str:
        try:
            return self.workload.inputs(self._config(values), self.places)
        except UsageError as error:
            return str(error)


def _covered(path: str, by: Iterable[str]) -> bool:
    return any(path == one or path.startswith(one + ".") or one.startswith(path + ".") for one in by)


def _short_names(paths: Iterable[str]) -> dict[str, str]:
    leafs = [path.rsplit(".", 1)[-1] for path in paths]
    return {path: leaf if leafs.count(leaf) == 1 else path for path, leaf in zip(paths, leafs, strict=True)}


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else canonical(value)
