"""One segment of a plan with typed values: what its points say, which are refused, and what makes two equivalent.

Nothing is validated or hashed per point: rules and inputs are projections, identity is an exclusive or of marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from pydantic import ValidationError

from joulegrid.cases.contract import Input
from joulegrid.errors import UsageError
from joulegrid.jobs.plan.fields import Fields
from joulegrid.jobs.plan.grid import Segment
from joulegrid.jobs.plan.identity import canonical, mark
from joulegrid.jobs.plan.lattice import Digits, Lattice
from joulegrid.jobs.plan.merge import nested, within
from joulegrid.jobs.plan.patches import TypedSegment
from joulegrid.jobs.plan.projection import Projection, classes, touching
from joulegrid.jobs.study.schema import checked_together, explained
from joulegrid.jsontypes import Json

Gate = Projection[str | None]
"""Says why a point is refused."""


class Marks:
    """The marks of every axis' patches, some fields left out; an axis is hashed when it is asked for."""

    def __init__(self, axes: Sequence[Sequence[Mapping[str, Json]]], without: frozenset[str]) -> None:
        self._axes = axes
        self._without = without
        self._of: dict[int, list[int]] = {}
        self._first: dict[int, list[int]] = {}

    def of(self, axis: int) -> list[int]:
        """Return the mark of each patch of an axis."""
        if axis not in self._of:
            self._of[axis] = [_mark_without(values, self._without) for values in self._axes[axis]]
        return self._of[axis]

    def first(self, axis: int) -> list[int]:
        """Return for each patch of an axis the first one that is alike."""
        if axis not in self._first:
            known: dict[str, int] = {}
            texts = (_text_without(values, self._without) for values in self._axes[axis])
            self._first[axis] = [known.setdefault(text, number) for number, text in enumerate(texts)]
        return self._first[axis]

    def all_differ(self, axes: Iterable[int]) -> bool:
        """Whether no two patches of one of the axes are alike."""
        return all(number == one for axis in axes for number, one in enumerate(self.first(axis)))


class Region:
    """The points of one typed segment, each named by its digits."""

    def __init__(self, fields: Fields, segment: Segment, typed: TypedSegment) -> None:
        self.lattice = Lattice(segment.shape)
        self.segment = segment
        self.typed = typed
        self.fingerprints: set[str] = set()
        """Of everything that was resolved."""
        self._fields = fields
        workload = fields.workload
        self._values_of = [[patch.values for patch in axis] for axis in typed.axes]
        self._inputs: Projection[dict[str, Input] | str] = self.project(workload.input_fields, self._resolve)
        reads = tuple(dict.fromkeys(chain.from_iterable(one.reads for one in workload.ignored)))
        self._dropped: Projection[frozenset[str]] = self.project(reads, self._ignored_fields)
        self._marks: dict[frozenset[str], Marks] = {}
        self.deciding = sorted({*self._inputs.axes, *self._dropped.axes})
        """Axes on which it depends what a point reads and which of its fields are ignored."""
        self.free = [axis for axis in range(len(typed.axes)) if axis not in self.deciding]

    def values(self, digits: Digits) -> dict[str, Json]:
        """Return dotted path → value of every field of a point that differs from its default."""
        values = dict(self.typed.base)
        for patches, digit in zip(self._values_of, digits, strict=True):
            values |= patches[digit]
        return values

    def inputs(self, digits: Digits) -> dict[str, Input]:
        """Return what an accepted point reads."""
        found = self._inputs(digits)
        assert not isinstance(found, str)
        return found

    def effective(self, digits: Digits) -> dict[str, Json]:
        """Return the values of an accepted point that have an effect and are no names of inputs."""
        without = self._without(digits)
        return {path: value for path, value in self.values(digits).items() if path not in without}

    def identity(self, digits: Digits) -> dict[str, Json]:
        """Return what defines a point: its effective values, and fingerprints in the place of names."""
        return self.effective(digits) | {path: one.fingerprint for path, one in self.inputs(digits).items()}

    @property
    def gates(self) -> list[Gate]:
        """Everything that may refuse a point, cheapest first."""
        shared = "; ".join(said for _, said in self.typed.faults) or None
        gates: list[Gate] = [Projection({}, lambda digits: shared)] if shared else []
        refusals = [[patch.refusal for patch in axis] for axis in self.typed.axes]
        gates += [_patch_gate(number, axis) for number, axis in enumerate(refusals) if any(axis)]
        gates += [self.project(rule.reads, self._rule(rule.reads, rule.check)) for rule in self._fields.workload.rules]
        for section in dict.fromkeys(checked_together(self._fields.workload.Config)):
            touched = touching(self.typed.paths, [section])
            gates += [self.project((section,), self._section(section))] if touched else []
        return [*gates, Projection(self._inputs.classes, self._unresolved)]

    def marks(self, digits: Digits) -> tuple[int, Marks]:
        """Return the 64-bit mark of what no axis says of an accepted point, and those of all patches.

        What is ignored, or replaced by the fingerprint of an input, is left out of both. The exclusive or of the
        first with one mark of each axis is the mark of a point's identity.
        """
        without = self._without(digits)
        if without not in self._marks:
            self._marks[without] = Marks(self._values_of, without)
        return self.read_mark(digits) ^ _mark_without(self.typed.base, without), self._marks[without]

    def read_mark(self, digits: Digits) -> int:
        """Return the mark of what a point reads."""
        return mark((path, one.fingerprint) for path, one in self.inputs(digits).items())

    @property
    def decided_by_inputs(self) -> bool:
        """Whether the same fields are ignored in all points."""
        return not self._dropped.axes

    def project(self, reads: tuple[str, ...], evaluate: Callable[[Digits], Any]) -> Projection[Any]:
        """Return a function of a point that depends on the fields `reads` alone."""
        axes = touching(self.typed.paths, reads)
        return Projection({axis: classes(self._values_of[axis], reads) for axis in axes}, evaluate)

    def _rule(self, reads: tuple[str, ...], check: Callable[..., str | None]) -> Callable[[Digits], str | None]:
        value = self._fields.value

        def gate(digits: Digits) -> str | None:
            values = self.values(digits)
            return check(*(value(values, path) for path in reads))

        return gate

    def _section(self, section: str) -> Callable[[Digits], str | None]:
        """A section whose fields are checked against each other is checked once per combination of its values."""
        model = self._fields.workload.Config

        def gate(digits: Digits) -> str | None:
            try:
                model.model_validate(nested(self.values(digits)))
            except ValidationError as error:
                return "; ".join(said for path, said in explained(model, error) if within(path, section)) or None
            return None

        return gate

    def _unresolved(self, digits: Digits) -> str | None:
        found = self._inputs(digits)
        return found if isinstance(found, str) else None

    def _resolve(self, digits: Digits) -> dict[str, Input] | str:
        try:
            found = self._fields.workload.inputs(self._fields.config(self.values(digits)), self._fields.places)
        except UsageError as error:
            return str(error)
        self.fingerprints |= {one.fingerprint for one in found.values()}
        return found

    def _ignored_fields(self, digits: Digits) -> frozenset[str]:
        values, value = self.values(digits), self._fields.value
        fields = [
            one.fields
            for one in self._fields.workload.ignored
            if one.when(*(value(values, path) for path in one.reads))
        ]
        return frozenset(chain.from_iterable(fields))

    def _without(self, digits: Digits) -> frozenset[str]:
        return self._dropped(digits) | frozenset(self.inputs(digits))


def _mark_without(values: Mapping[str, Json], dropped: frozenset[str]) -> int:
    return mark((path, value) for path, value in values.items() if path not in dropped)


def _text_without(values: Mapping[str, Json], dropped: frozenset[str]) -> str:
    kept = {path: value for path, value in values.items() if path not in dropped}
    plain = len(kept) < 2 and not any(isinstance(value, dict | list) for value in kept.values())
    return repr(kept) if plain else canonical(kept)  # canonical JSON takes four times as long


def _patch_gate(number: int, refusals: list[str | None]) -> Gate:
    return Projection({number: range(len(refusals))}, lambda digits: refusals[digits[number]])
