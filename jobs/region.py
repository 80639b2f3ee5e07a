"""One segment of a plan with typed values: what its points say, which are refused, which are equivalent.

Nothing is validated or hashed per point: rules and inputs are projections, identity is an exclusive or of marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, product
from typing import Any

from pydantic import ValidationError

from joulegrid.cases.contract import Input
from joulegrid.errors import UsageError
from joulegrid.jobs.fields import Fields
from joulegrid.jobs.grid import Segment
from joulegrid.jobs.identity import mark
from joulegrid.jobs.merge import nested, within
from joulegrid.jobs.patches import TypedSegment
from joulegrid.jobs.projection import Digits, Projection, touching
from joulegrid.jobs.schema import checked_together, explained
from joulegrid.jsontypes import Json

Gate = Callable[[Digits], str | None]
"""Says why a point is refused."""
_Table = list[list[int]]
"""Axis → patch → mark."""


class Region:
    """The points of one typed segment, each named by its digits."""

    def __init__(self, fields: Fields, segment: Segment, typed: TypedSegment) -> None:
        self.segment = segment
        self.typed = typed
        self._fields = fields
        workload = fields.workload
        self._values_of = [[patch.values for patch in axis] for axis in typed.axes]
        self._inputs: Projection[dict[str, Input] | str] = self._project(workload.input_fields, self._resolve)
        self._dropped: Projection[frozenset[str]] = self._project(
            chain.from_iterable(one.reads for one in workload.ignored), self._ignored_fields
        )
        self._tables: dict[frozenset[str], _Table] = {}
        deciding = sorted({*self._inputs.axes, *self._dropped.axes})
        self._table: Projection[tuple[int, _Table]] = Projection(deciding, self._marked)

    def __iter__(self) -> Iterator[Digits]:
        """Yield the digits of every point; the last axis runs fastest."""
        return product(*map(range, self.segment.shape))

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

    def fingerprints(self) -> set[str]:
        """Return the fingerprints of everything that was resolved."""
        known = [one for one in self._inputs.known.values() if isinstance(one, dict)]
        return {read.fingerprint for one in known for read in one.values()}

    def identity(self, digits: Digits) -> dict[str, Json]:
        """Return what defines a point: its effective values, and fingerprints in the place of names."""
        dropped = self._dropped(digits)
        effective = {path: value for path, value in self.values(digits).items() if path not in dropped}
        return effective | {path: one.fingerprint for path, one in self.inputs(digits).items()}

    @cached_property
    def gates(self) -> list[Gate]:
        """Everything that may refuse a point, cheapest first."""
        refusals = [[patch.refusal for patch in axis] for axis in self.typed.axes]
        shared = "; ".join(said for _, said in self.typed.faults) or None
        gates: list[Gate] = [lambda digits: shared] if shared else []
        gates += [_patch_gate(number, axis) for number, axis in enumerate(refusals) if any(axis)]
        gates += [self._project(rule.reads, self._rule(rule.reads, rule.check)) for rule in self._fields.workload.rules]
        for section in dict.fromkeys(checked_together(self._fields.workload.Config)):
            gate = self._project((section,), self._section(section))
            gates += [gate] if gate.axes else []
        return [*gates, self._unresolved]

    def mark(self, digits: Digits) -> int:
        """Return the 64-bit mark of an accepted point's identity."""
        found, table = self._table(digits)
        for marks, digit in zip(table, digits, strict=True):
            found ^= marks[digit]
        return found

    def all_distinct(self, digits: Digits) -> bool:
        """Whether no two points can have the same identity, as one accepted point tells."""
        if self._dropped.axes:
            return False
        _, table = self._table(digits)
        return all(len(set(marks)) == len(marks) for marks in table)

    def _project(self, reads: Any, evaluate: Callable[[Digits], Any]) -> Projection[Any]:
        return Projection(touching(self.typed.paths, reads), evaluate)

    def _rule(self, reads: tuple[str, ...], check: Callable[..., str | None]) -> Gate:
        value = self._fields.value

        def gate(digits: Digits) -> str | None:
            values = self.values(digits)
            return check(*(value(values, path) for path in reads))

        return gate

    def _section(self, section: str) -> Gate:
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
            return self._fields.workload.inputs(self._fields.config(self.values(digits)), self._fields.places)
        except UsageError as error:
            return str(error)

    def _ignored_fields(self, digits: Digits) -> frozenset[str]:
        values, value = self.values(digits), self._fields.value
        fields = [
            one.fields
            for one in self._fields.workload.ignored
            if one.when(*(value(values, path) for path in one.reads))
        ]
        return frozenset(chain.from_iterable(fields))

    def _marked(self, digits: Digits) -> tuple[int, _Table]:
        """The mark of what no axis says, and those of each axis' patches.

        What is ignored, or replaced by the fingerprint of an input, is left out of both.
        """
        inputs = self.inputs(digits)
        without = self._dropped(digits) | frozenset(inputs)
        if without not in self._tables:
            self._tables[without] = [[_mark_without(values, without) for values in axis] for axis in self._values_of]
        read = mark((path, one.fingerprint) for path, one in inputs.items())
        return read ^ _mark_without(self.typed.base, without), self._tables[without]


class Duplicates:
    """Remembers the identities of the accepted points, where two of them can be the same at all."""

    def __init__(self, *, only_region: bool) -> None:
        self.found = 0
        self._seen: set[int] = set()
        self._never: bool | None = None if only_region else False

    def is_new(self, region: Region, digits: Digits) -> bool:
        """Whether no accepted point has the identity of this one."""
        if self._never is None:
            self._never = region.all_distinct(digits)
        if self._never:
            return True
        identity = region.mark(digits)
        if identity in self._seen:
            self.found += 1
            return False
        self._seen.add(identity)
        return True


def first_refusal(gates: Sequence[Gate], digits: Digits) -> str | None:
    """Return why a point is refused by the first gate that refuses it."""
    for gate in gates:
        reason = gate(digits)
        if reason is not None:
            return reason
    return None


def _mark_without(values: Mapping[str, Json], dropped: frozenset[str]) -> int:
    return mark((path, value) for path, value in values.items() if path not in dropped)


def _patch_gate(number: int, refusals: list[str | None]) -> Gate:
    return lambda digits: refusals[digits[number]]
