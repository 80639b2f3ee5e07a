"""The lazy plan: which points a study has, which are refused or equivalent, and each one's identity.

Point *i* is computed when it is asked for; kept is one byte for each point of the grammar. Hardware is never looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from joulegrid.cases.contract import ExperimentConfig, Input, Places, Workload
from joulegrid.cases.registry import workload_named
from joulegrid.errors import UsageError
from joulegrid.jobs.plan.fields import Fields
from joulegrid.jobs.plan.identity import digest
from joulegrid.jobs.plan.label import label_of, short_names
from joulegrid.jobs.plan.lattice import Digits
from joulegrid.jobs.plan.merge import overlap
from joulegrid.jobs.plan.order import Order
from joulegrid.jobs.plan.patches import TypedSegment, Typing
from joulegrid.jobs.plan.region import Region
from joulegrid.jobs.plan.scan import Refusals, Scanned, scanned
from joulegrid.jobs.study.study import StudyConfig
from joulegrid.jsontypes import Json

REASONS_SHOWN = 20


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
    """Dotted path → value of every field that the study varies; `None` where the point has no such field."""
    key: str
    label: str
    config: ExperimentConfig
    inputs: dict[str, Input]


class Plan:
    """The points of a study. `UsageError` where the shared fields are wrong or every point is refused."""

    def __init__(self, study: StudyConfig) -> None:
        self.study = study
        self.workload: Workload = workload_named(study.experiment.get("workload", "inference"))
        self.places = Places(study.folder)
        self.segments = study.segments()
        self._fields = Fields(self.workload, self.places)
        self._regions = self._typed_regions()
        self._parts: list[Scanned] = []
        self.n_duplicates = 0
        self.skipped: list[Skipped] = self._scan()

    def __len__(self) -> int:
        return sum(len(part.accepted) for part in self._parts)

    def __iter__(self) -> Iterator[Point]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Point:
        index = range(len(self))[index]
        number, region, digits = self._place(index)
        values = region.values(digits)
        return Point(
            index=index,
            values=values,
            axes={path: self._fields.value(values, path) for path in self.varied},
            key=self._key(number, region, digits),
            label=self.label(values),
            config=self._fields.config(values),
            inputs=region.inputs(digits),
        )

    @property
    def n_points(self) -> int:
        """All points of the grammar, refused and equivalent ones included."""
        return sum(segment.n_points for segment in self.segments)

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """Dotted paths that some axis or explicit point sets."""
        return tuple(dict.fromkeys(path for one in self.segments for axis in one.axes for path in axis.paths))

    @cached_property
    def study_design_hash(self) -> str:
        """16 hex digits of the grammar with typed values; `execution`, `output` and `power` are no part of it.

        Neither the order of keys nor a default that is written down changes it. The order of axes does, because it
        numbers the points.
        """
        sides = [[region.typed.base, region.segment.paths, region.typed.said] for region in self._regions]
        refused = [p.refusal for region in self._regions for axis in region.typed.axes for p in axis if p.refusal]
        design: dict[str, Json] = {"segments": sides, "refused": refused, "deduplicate": self.study.deduplicate}
        return digest({**design, "workload": self.workload.name})

    @cached_property
    def inputs_hash(self) -> str:
        """16 hex digits of everything that the points read."""
        found: set[str] = set().union(*(region.fingerprints for region in self._regions))
        return digest(sorted(found))

    @cached_property
    def resources(self) -> list[tuple[int | None, int | None]]:
        """The distinct (gpus, cpus) that the accepted points ask for."""
        pairs: set[tuple[int | None, int | None]] = set()
        for part in self._parts:
            asked = part.region.project(("resources",), partial(self._asked, part.region))
            pairs |= part.each(asked)
        return sorted(pairs, key=str)

    @cached_property
    def order(self) -> Order:
        """The order in which the cycles visit the experiments; `shuffle_seed: null` takes the design's hash."""
        execution = self.study.execution
        seed = execution.shuffle_seed if execution.shuffle_seed is not None else int(self.study_design_hash, 16)
        return Order(execution.cycle_order, len(self), execution.n_cycles, seed)

    def lengthen(self, n_cycles: int) -> None:
        """Take so many cycles from now on: the pilot of `n_cycles: auto` has decided."""
        execution = self.study.execution.model_copy(update={"n_cycles": n_cycles})
        self.study = self.study.model_copy(update={"execution": execution})
        self.__dict__.pop("order", None)

    def label(self, values: Mapping[str, Json]) -> str:
        """Name a point by its varied fields: `batch_size=8 precision=fp16`."""
        return label_of(self._fields, self._short_names, values) or self.study.study_name

    def point_labels(self) -> Iterator[tuple[int, str]]:
        """Yield (index, label) of every accepted point, cheaply."""
        points = ((part.region, position) for part in self._parts for position in part.accepted)
        for index, (region, position) in enumerate(points):
            yield index, self.label(region.values(region.lattice.digits(position)))

    @cached_property
    def _short_names(self) -> dict[str, str]:
        return short_names(self.varied)

    def _typed_regions(self) -> list[Region]:
        shared = {"workload": self.workload.name, **self.study.experiment}
        typed = [Typing(self.workload.Config, shared, segment).typed() for segment in self.segments]
        self._refuse_shared_faults(typed)
        return [Region(self._fields, *both) for both in zip(self.segments, typed, strict=True)]

    def _refuse_shared_faults(self, typed: list[TypedSegment]) -> None:
        """A fault in a field that no axis of any segment sets is a fault of the study."""
        faults = dict.fromkeys(fault for one in typed for fault in one.faults)
        problems = [said for path, said in faults if not any(overlap(path, one) for one in self.varied)]
        if problems:
            raise UsageError("\n".join(problems))

    def _scan(self) -> list[Skipped]:
        """Sort all points into accepted, refused (by reason) and equivalent to an earlier one."""
        refusals = Refusals()
        for region in self._regions:
            part, n_equal = scanned(region, self._parts, refusals, deduplicate=self.study.deduplicate)
            self._parts.append(part)
            self.n_duplicates += n_equal
        skipped = [Skipped(one.reason, one.count, self._example(one.first)) for one in refusals.ordered()]
        if not len(self):
            raise UsageError(f"every point of the study is refused, nothing is left to run:\n{_told(skipped)}")
        return skipped

    def _example(self, number: int) -> str:
        part = next(part for part in reversed(self._parts) if part.offset <= number)
        return self.label(part.region.values(part.region.lattice.digits(number - part.offset)))

    def _place(self, index: int) -> tuple[int, Region, Digits]:
        """The number among all points, the region and the digits of an accepted point."""
        for part in self._parts:
            if index < len(part.accepted):
                position = part.accepted[index]
                return part.offset + position, part.region, part.region.lattice.digits(position)
            index -= len(part.accepted)
        raise IndexError(index)

    def _asked(self, region: Region, digits: Digits) -> tuple[int | None, int | None]:
        values = region.values(digits)
        return self._fields.value(values, "resources.gpus"), self._fields.value(values, "resources.cpus")

    def _key(self, number: int, region: Region, digits: Digits) -> str:
        identity: dict[str, Json] = {"values": region.identity(digits)}
        identity["workload"] = [self.workload.name, self.workload.revision]
        if not self.study.deduplicate:
            identity["point"] = number
        return digest(identity)


def _told(skipped: list[Skipped]) -> str:
    lines = [f"  {one.count} × {one.reason} (e.g. {one.example})" for one in skipped[:REASONS_SHOWN]]
    more = len(skipped) - REASONS_SHOWN
    return "\n".join([*lines, f"  … and for {more} further reasons"] if more > 0 else lines)
