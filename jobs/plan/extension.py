"""A plan that grew: the points of a run keep their numbers, what was added follows after them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from joulegrid.errors import UsageError
from joulegrid.jobs.plan.order import Order
from joulegrid.jobs.plan.plan import Plan, Point

_SHOWN = 3


class ExtendedPlan(Plan):
    """A plan whose points are numbered as a run has them. Everything else is the new plan's own."""

    def __init__(self, plan: Plan, before: Plan) -> None:
        self.__dict__.update(plan.__dict__)
        self.__dict__.pop("order", None)  # it is over the same number of points, but they are numbered otherwise
        self._plan = plan
        self._numbers = _numbers(plan, before)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Point]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Point:
        index = range(len(self))[index]
        return replace(self._plan[self._numbers[index]], index=index)

    def lengthen(self, n_cycles: int) -> None:
        """Take so many cycles from now on."""
        self._plan.lengthen(n_cycles)
        self.study = self._plan.study

    @property
    def order(self) -> Order:
        """The order in which the cycles visit the experiments."""
        return self._plan.order


def extended(plan: Plan, designs: Sequence[Mapping[str, Any]]) -> Plan:
    """Return the plan numbered as a run that was planned and extended like this numbers its points.

    Raises:
        UsageError: when a point of the run is no point of the plan any more.
    """
    from joulegrid.jobs.study.load import make_study

    before: Plan | None = None
    for design in designs:
        grammar = dict(design.get("grammar") or {})
        shared = grammar.pop("experiment", {})
        study = make_study({"study_name": plan.study.study_name, **shared, **grammar}, folder=plan.study.folder)
        older = Plan(study)
        _refuse_other(older, design)
        before = ExtendedPlan(older, before) if before is not None else older
    return plan if before is None else ExtendedPlan(plan, before)


def _refuse_other(older: Plan, design: Mapping[str, Any]) -> None:
    """What a run was planned as must still mean the same, or its results belong to other experiments."""
    if older.inputs_hash != design.get("inputs_hash"):
        raise UsageError(
            "--extend: what the experiments of the run read (models, scripts, prompts) has other contents than then, "
            "so that their results would stand for something else; put it back, or begin a run of its own with --fresh"
        )
    if older.study_design_hash != design.get("study_design_hash"):
        raise UsageError(
            "--extend: the run's experiments cannot be told from its plan.json any more (a value in it was masked as a "
            "secret, or another version of Joulegrid wrote it); begin a run of its own with --fresh"
        )


def _numbers(plan: Plan, before: Plan) -> array[int]:
    """Position → number in the new plan: first what was there, in its order, then what is new."""
    places = {point.key: point.index for point in plan}
    gone = [point.label for point in before if point.key not in places]
    if gone:
        more = f" and {len(gone) - _SHOWN} more" if len(gone) > _SHOWN else ""
        raise UsageError(
            f"--extend adds experiments and takes none away, but {', '.join(map(repr, gone[:_SHOWN]))}{more} of the "
            "run would be gone or changed; put them back, or begin a run of its own with --fresh"
        )
    first = array("Q", (places.pop(point.key) for point in before))
    return first + array("Q", sorted(places.values()))
