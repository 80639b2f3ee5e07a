"""The plan of a search: it grows with each experiment that is asked for. It has the same face as `Plan`.

An experiment has the key, the axes and the label that a grid would give it. Kept are its values as text and its key;
everything else is computed when it is asked for.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from joulegrid.cases.contract import Places, Workload
from joulegrid.cases.registry import workload_named
from joulegrid.errors import UsageError
from joulegrid.jobs.plan.fields import Fields
from joulegrid.jobs.plan.grid import Axis, Segment
from joulegrid.jobs.plan.identity import canonical, digest
from joulegrid.jobs.plan.label import label_of, short_names
from joulegrid.jobs.plan.merge import within
from joulegrid.jobs.plan.order import Order
from joulegrid.jobs.plan.patches import TypedSegment, Typing
from joulegrid.jobs.plan.plan import Point, Skipped
from joulegrid.jobs.plan.region import Region
from joulegrid.jobs.search.refusals import refusal, refuse_barren_space, refuse_shared_faults, star
from joulegrid.jobs.search.search import SearcherSource, plain
from joulegrid.jobs.search.space import Range, Space, space_of
from joulegrid.jobs.study.study import StudyConfig, unknown_in_experiments
from joulegrid.jsontypes import Json

_REGIONS_KEPT = 64
"""Experiments whose typed values stay in memory; the others are typed again (1.5 ms) when they are needed."""
_ONE = (0,)
"""The digits of the only point of an asked segment."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What the plan says to an experiment that is asked for."""

    index: int | None
    """Its number; `None` where it is refused."""
    is_new: bool = False
    """Whether it is to be run; otherwise an equivalent one was asked for before."""
    reason: str | None = None
    """Why it is refused."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is kept of an experiment."""

    patch: str
    """Its values as canonical JSON."""
    key: str
    n_varied: int
    """How many paths were varied when it was asked for: they make its label and its axes, which never change."""


class AskedPlan:
    """The experiments of a search so far. `UsageError` where the shared fields or the space are wrong."""

    def __init__(self, study: StudyConfig, source: SearcherSource) -> None:
        self.study = study
        self.source = source
        self.workload: Workload = workload_named(study.experiment.get("workload", "inference"))
        self.places = Places(study.folder)
        self.n_duplicates = 0
        self._fields = Fields(self.workload, self.places)
        self._shared = {"workload": self.workload.name, **study.experiment}
        self._segment = study.segments()[0] if study.search is not None else Segment(())
        self._typed = Typing(self.workload.Config, self._shared, self._segment).typed()
        self._varied = dict.fromkeys(path for axis in self._segment.axes for path in axis.paths)
        self._entries: list[_Entry] = []
        self._index_of: dict[int, int] = {}
        self._refused: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._regions: OrderedDict[str, Region] = OrderedDict()
        refuse_shared_faults(study, self._typed, self._segment_paths, self.space)
        if study.search is not None:
            refuse_barren_space(Region(self._fields, self._segment, self._typed), self._segment)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Point]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Point:
        index = range(len(self))[index]
        entry = self._entries[index]
        region = self._region(json.loads(entry.patch))
        values, varied = region.values(_ONE), self.varied[: entry.n_varied]
        return Point(
            index=index,
            values=values,
            axes={path: self._fields.value(values, path) for path in varied},
            key=entry.key,
            label=self._label(values, varied),
            config=self._fields.config(values),
            inputs=region.inputs(_ONE),
        )

    def admit(self, values: Mapping[str, Json]) -> Admission:
        """Add an experiment to the plan, unless it is refused or equivalent to one that is there.

        Args:
            values: dotted path → value over the shared fields, nested mappings as well.

        Raises:
            UsageError: for a field that the workload does not know; that is a fault of the searcher, no refusal.
        """
        patch = self._patch(values)
        region = self._region(patch)
        reason = self._made_before(patch) or refusal(region, _ONE)
        if reason is not None:
            self._refuse(reason, patch, region)
            return Admission(None, reason=reason)
        key = self._key(region)
        known = self._index_of.get(int(key, 16))
        if known is not None:
            self.n_duplicates += 1
            return Admission(known)
        self._varied |= dict.fromkeys(patch)
        self._index_of[int(key, 16)] = len(self)
        self._entries.append(_Entry(canonical(patch), key, len(self._varied)))
        return Admission(len(self) - 1, is_new=True)

    def patches(self) -> list[dict[str, Json]]:
        """Return what was asked for, as a study's `experiments:` would say it."""
        return [json.loads(entry.patch) for entry in self._entries]

    def key(self, index: int) -> str:
        """Return the key of an experiment, without the rest of it."""
        return self._entries[index].key

    @property
    def is_open(self) -> bool:
        """Whether the study's limits allow another experiment."""
        return self.limit is None or len(self) < self.limit

    @cached_property
    def limit(self) -> int | None:
        """The most experiments that are run: the search's budget or `execution.max_experiments`; `None` is no limit."""
        limits = [self.study.execution.max_experiments, self.study.search.budget if self.study.search else None]
        return min((one for one in limits if one is not None), default=None)

    @cached_property
    def space(self) -> Space | None:
        """The space of the section `search`; `None` where a Python file proposes."""
        return space_of(self._segment, self.study.sweep) if self.study.search is not None else None

    @property
    def n_points(self) -> int | None:
        """All points of the space; `None` where that is not known, or no number."""
        return self.space.n_points if self.space is not None else None

    @property
    def skipped(self) -> list[Skipped]:
        """What was asked for and refused, by reason."""
        return [Skipped(reason, count, self._examples[reason]) for reason, count in self._refused.items()]

    @property
    def varied(self) -> tuple[str, ...]:
        """Dotted paths that the space or some experiment so far sets."""
        return tuple(self._varied)

    @cached_property
    def study_design_hash(self) -> str:
        """16 hex digits of the searcher, its space and the shared fields; never of what was asked for."""
        spread = [self._segment.paths, self._typed.said]
        bounds: Json = [[one.path, one.ends, one.step, one.log] for one in self.space or () if isinstance(one, Range)]
        design: dict[str, Json] = {"base": self._typed.base, "space": spread, "ranges": bounds}
        design |= {"searcher": self.source.fingerprint, "deduplicate": self.study.deduplicate}
        return digest({**design, "workload": self.workload.name})

    @cached_property
    def inputs_hash(self) -> str:
        """16 hex digits of what the space is known to read; what an ask reads beside that is in its key."""
        found: set[str] = set()
        region = Region(self._fields, self._segment, self._typed)
        for digits in star(self._segment):
            if refusal(region, digits) is None:
                found |= {one.fingerprint for one in region.inputs(digits).values()}
        return digest(sorted(found))

    @cached_property
    def resources(self) -> list[tuple[int | None, int | None]]:
        """The (gpus, cpus) that an experiment may ask for: those of the shared fields, or of the space."""
        region = Region(self._fields, self._segment, self._typed)
        values = [region.values(digits) for digits in star(self._segment)]
        value = self._fields.value
        return sorted({(value(one, "resources.gpus"), value(one, "resources.cpus")) for one in values}, key=str)

    @property
    def order(self) -> Order:
        """All cycles of one experiment after the other, so that it is told before more is asked."""
        return Order("sequential", len(self), self.study.execution.n_cycles, 0)

    def label(self, values: Mapping[str, Json]) -> str:
        """Name a point by its varied fields: `batch_size=8 precision=fp16`."""
        return self._label(values, self.varied)

    def point_labels(self) -> Iterator[tuple[int, str]]:
        """Yield (index, label) of every experiment so far."""
        return ((point.index, point.label) for point in self)

    def _label(self, values: Mapping[str, Json], varied: tuple[str, ...]) -> str:
        return label_of(self._fields, short_names(varied), values) or self.study.study_name

    def _patch(self, values: Mapping[str, Json]) -> dict[str, Json]:
        """Write the values as a grid's patch; the study's own workload may be said again."""
        patch = {path: value for path, value in plain(values).items() if (path, value) != self._own_workload}
        problems = list(unknown_in_experiments(self._shared, [_segment_of(patch)]))
        if problems:
            raise UsageError("\n".join(one.removeprefix("experiments: ") for one in problems))
        return patch

    @property
    def _own_workload(self) -> tuple[str, str]:
        return "workload", self.workload.name

    def _region(self, patch: dict[str, Json]) -> Region:
        text = canonical(patch)
        if text not in self._regions:
            segment = _segment_of(patch)
            typed: TypedSegment = Typing(self.workload.Config, self._shared, segment).typed()
            self._regions[text] = Region(self._fields, segment, typed)
        self._regions.move_to_end(text)
        if len(self._regions) > _REGIONS_KEPT:
            self._regions.popitem(last=False)
        return self._regions[text]

    def _key(self, region: Region) -> str:
        identity: dict[str, Json] = {"values": region.identity(_ONE)}
        identity["workload"] = [self.workload.name, self.workload.revision]
        if not self.study.deduplicate:
            identity["point"] = len(self)
        return digest(identity)

    def _refuse(self, reason: str, patch: Mapping[str, Json], region: Region) -> None:
        self._refused[reason] += 1
        varied = tuple(dict.fromkeys([*self._varied, *patch]))
        self._examples.setdefault(reason, self._label(region.values(_ONE), varied))

    def _made_before(self, patch: Mapping[str, Json]) -> str | None:
        """Lanes and their zygotes are made before the first ask, so what decides about them must be known by then."""
        found = [path for path in patch if within(path, "resources") and path not in self._segment_paths]
        found += [path for path in patch if path == "script.preload"]
        if found:
            return f"{found[0]}: the lanes are made before the first ask; give it once, as a shared field"
        return None

    @cached_property
    def _segment_paths(self) -> frozenset[str]:
        return frozenset(chain.from_iterable(axis.paths for axis in self._segment.axes))


def _segment_of(patch: dict[str, Json]) -> Segment:
    return Segment((Axis("experiments", (patch,)),))
