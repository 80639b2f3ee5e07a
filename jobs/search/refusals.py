"""What speaks against a point of a search, or against the whole of it before anything is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from joulegrid.errors import UsageError
from joulegrid.jobs.plan.merge import leaves, overlap
from joulegrid.jobs.search.space import Range

if TYPE_CHECKING:
    from joulegrid.jobs.plan.grid import Segment
    from joulegrid.jobs.plan.lattice import Digits
    from joulegrid.jobs.plan.patches import TypedSegment
    from joulegrid.jobs.plan.region import Region
    from joulegrid.jobs.search.space import Space
    from joulegrid.jobs.study.study import StudyConfig

_POINTS_TRIED = 100


def refusal(region: Region, digits: Digits) -> str | None:
    """Return why a point is refused; `None` where it is not."""
    found = (gate(digits) for gate in region.gates)
    return next((reason for reason in found if reason is not None), None)


def star(segment: Segment) -> Iterator[Digits]:
    """Yield the first point of a segment and those that differ from it in one axis: each value is there once."""
    first = (0,) * len(segment.axes)
    yield first
    for number, axis in enumerate(segment.axes):
        for digit in range(1, len(axis.patches)):
            yield (*first[:number], digit, *first[number + 1 :])


def refuse_shared_faults(study: StudyConfig, typed: TypedSegment, paths: Collection[str], space: Space | None) -> None:
    """Raise for a fault in a field that no ask can mend, it is one of the study; and for an invalid end of a range."""
    said = {path for path, _ in leaves(study.experiment)}
    grown = study.search is None
    problems = [
        told for path, told in typed.faults if (path in said if grown else not any(overlap(path, one) for one in paths))
    ]
    for dimension, patches in zip(space or (), typed.axes, strict=False):
        if isinstance(dimension, Range):
            problems += [f"sweep.{dimension.path}: {one.refusal}" for one in patches if one.refusal]
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))


def refuse_barren_space(region: Region, segment: Segment) -> None:
    """Raise for what refuses every point of the space: a script that does not exist, or a list of such."""
    for number, axis in enumerate(segment.axes):
        reasons = dict.fromkeys(_reasons(region, number, islice(_along(segment, number), _POINTS_TRIED)))
        if None not in reasons and len(axis.patches) <= _POINTS_TRIED:
            told = "\n".join(f"  {reason}" for reason in reasons)
            raise UsageError(f"every point of the search is refused, nothing is left to run:\n{told}")


def _along(segment: Segment, number: int) -> Iterator[Digits]:
    """Yield the points that differ from the first in one axis, and the first."""
    before, after = (0,) * number, (0,) * (len(segment.axes) - number - 1)
    return ((*before, digit, *after) for digit in range(len(segment.axes[number].patches)))


def _reasons(region: Region, number: int, points: Iterable[Digits]) -> Iterator[str | None]:
    """Yield of each point why every other point with the same value on this axis is refused like it."""
    gates = [gate for gate in region.gates if set(gate.axes) <= {number}]
    for digits in points:
        yield next((reason for gate in gates if (reason := gate(digits)) is not None), None)
