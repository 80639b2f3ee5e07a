"""The lazy plan: which points a study has, which are refused or equivalent, and each one's identity.

Point *i* is computed when it is asked for; kept are 8 bytes for each accepted point. Hardware is never looked at.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from joulegrid.cases.contract import ExperimentConfig, Input, Places, Workload
from joulegrid.cases.registry import workload_named
from joulegrid.errors import UsageError
from joulegrid.jobs.fields import Fields
from joulegrid.jobs.identity import canonical, digest
from joulegrid.jobs.merge import overlap
from joulegrid.jobs.order import Order
from joulegrid.jobs.patches import TypedSegment, Typing
from joulegrid.jobs.projection import Digits, touching
from joulegrid.jobs.region import Duplicates, Region, first_refusal
from joulegrid.jobs.study import StudyConfig
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
        self.skipped: list[Skipped] = []
        self.n_duplicates = 0
        self._fields = Fields(self.workload, self.places)
        self._regions = self._typed_regions()
        self._accepted = array("Q")
        self._scan()

    def __len__(self) -> int:
        return len(self._accepted)

    def __iter__(self) -> Iterator[Point]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Point:
        index = range(len(self))[index]
        number = self._accepted[index]
        region, digits = self._place(number)
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
        found: set[str] = set().union(*(region.fingerprints() for region in self._regions))
        return digest(sorted(found))

    @cached_property
    def resources(self) -> list[tuple[int | None, int | None]]:
        """The distinct (gpus, cpus) that the accepted points ask for."""
        pairs = set()
        fixed = not any(touching(region.typed.paths, ["resources"]) for region in self._regions)
        for number in self._accepted[:1] if fixed and len(self._regions) == 1 else self._accepted:
            region, digits = self._place(number)
            values = region.values(digits)
            pairs.add((self._fields.value(values, "resources.gpus"), self._fields.value(values, "resources.cpus")))
        return sorted(pairs, key=str)

    @cached_property
    def order(self) -> Order:
        """The order in which the cycles visit the experiments; `shuffle_seed: null` takes the design's hash."""
        execution = self.study.execution
        seed = execution.shuffle_seed if execution.shuffle_seed is not None else int(self.study_design_hash, 16)
        return Order(execution.cycle_order, len(self), execution.n_cycles, seed)

    def label(self, values: Mapping[str, Json]) -> str:
        """Name a point by its varied fields: `batch_size=8 precision=fp16`."""
        shown = [f"{name}={_shown(self._fields.value(values, path))}" for path, name in self._short_names.items()]
        return " ".join(shown) or self.study.study_name

    def point_labels(self) -> Iterator[tuple[int, str]]:
        """Yield (index, label) of every accepted point, cheaply."""
        for index, number in enumerate(self._accepted):
            region, digits = self._place(number)
            yield index, self.label(region.values(digits))

    @cached_property
    def _short_names(self) -> dict[str, str]:
        leafs = [path.rsplit(".", 1)[-1] for path in self.varied]
        return {path: leaf if leafs.count(leaf) == 1 else path for path, leaf in zip(self.varied, leafs, strict=True)}

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

    def _scan(self) -> None:
        """Sort all points into accepted, refused (by reason) and equivalent to an earlier one."""
        refused: Counter[str] = Counter()
        examples: dict[str, str] = {}
        offset, duplicates = 0, Duplicates(only_region=len(self._regions) == 1)
        is_new = duplicates.is_new if self.study.deduplicate else _always
        for region in self._regions:
            gates = region.gates
            for number, digits in enumerate(region, start=offset):
                reason = first_refusal(gates, digits)
                if reason is None:
                    if is_new(region, digits):
                        self._accepted.append(number)
                    continue
                refused[reason] += 1
                if reason not in examples:
                    examples[reason] = self.label(region.values(digits))
            offset += region.segment.n_points
        self.n_duplicates = duplicates.found
        self.skipped = [Skipped(reason, count, examples[reason]) for reason, count in refused.items()]
        if not self._accepted:
            raise UsageError(f"every point of the study is refused, nothing is left to run:\n{_told(self.skipped)}")

    def _place(self, number: int) -> tuple[Region, Digits]:
        for region in self._regions:
            if number < region.segment.n_points:
                return region, region.segment.digits(number)
            number -= region.segment.n_points
        raise IndexError(number)

    def _key(self, number: int, region: Region, digits: Digits) -> str:
        identity: dict[str, Json] = {"values": region.identity(digits)}
        identity["workload"] = [self.workload.name, self.workload.revision]
        if not self.study.deduplicate:
            identity["point"] = number
        return digest(identity)


def _always(region: Region, digits: Digits) -> bool:
    return True


def _told(skipped: list[Skipped]) -> str:
    lines = [f"  {one.count} × {one.reason} (e.g. {one.example})" for one in skipped[:REASONS_SHOWN]]
    more = len(skipped) - REASONS_SHOWN
    return "\n".join([*lines, f"  … and for {more} further reasons"] if more > 0 else lines)


def _shown(value: Json) -> str:
    """A text that could be taken for another kind of value is quoted."""
    if not isinstance(value, str):
        return canonical(value)
    looks_other = value in ("true", "false", "null", "") or value.strip("+-.0123456789eE") == ""
    return canonical(value) if looks_other else value
