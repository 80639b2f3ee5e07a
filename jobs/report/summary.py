"""Results over cycles: one row an experiment, a stream in, means and intervals out. Neither Ray, torch nor pandas.

A row never mixes energies: what was measured and what was modelled, by whatever source and of whatever hardware,
are rows of their own, and an unknown energy is one more kind.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from joulegrid.cluster.power.energy import Energy, Provenance, Scope, Source
from joulegrid.jobs.report.quantity import unit_of
from joulegrid.jobs.report.statistic import EnergyStatistic, Running, RunningEnergy, Statistic
from joulegrid.jsontypes import Json

if TYPE_CHECKING:
    from joulegrid.actors.result import ExperimentResult, WindowResult

EnergyKind = tuple[Provenance | None, Source | None, Scope | None]
SCOPE_WORDS = {"gpu_board": "GPU", "cpu_package": "CPU", "dram": "DRAM", "node": "node"}
_TEXTS_KEPT = 5


class SummaryRow(BaseModel):
    """One experiment over its cycles, as far as its energy is of one kind."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    index: int
    """Number of the experiment in the plan."""
    key: str
    label: str
    axes: dict[str, Json] = Field(default_factory=dict)
    n_done: int = 0
    """Done tasks in this row."""
    n_failed: int = 0
    """Failed tasks of the experiment; on its first row only, so that a column may be summed."""
    failures: dict[str, int] = Field(default_factory=dict)
    """The same by failure class."""
    provenance: Provenance | None = None
    source: Source | None = None
    scope: Scope | None = None
    unknown: str | None = None
    """Why the energy is unknown, where it is."""
    interval: str | None = None
    """What `stated_low` and `stated_high` cover, in the source's words."""
    seconds: Statistic | None = None
    """Length of the headline window."""
    energy_j: EnergyStatistic | None = None
    """Energy of the headline window."""
    energy_per: dict[str, EnergyStatistic] = Field(default_factory=dict)
    """Unit of work → joules for one of them."""
    work: dict[str, Statistic] = Field(default_factory=dict)
    """Unit of work → count in the headline window."""
    metrics: dict[str, Statistic] = Field(default_factory=dict)
    """Dotted name → every metric that is a finite number."""
    texts: dict[str, list[str]] = Field(default_factory=dict)
    """Dotted name → the first five different values of every other metric."""

    @property
    def energy_words(self) -> str:
        """How the energy was obtained and of what, e.g. `modelled, CPU`."""
        if self.provenance is None:
            return "unknown"
        return f"{self.provenance}, {SCOPE_WORDS.get(str(self.scope), str(self.scope))}"


@dataclass(frozen=True, slots=True)
class FailedTask:
    """What a summary needs of a task without numbers."""

    index: int
    key: str
    label: str
    failure_class: str
    axes: Mapping[str, Json] = field(default_factory=dict)


@dataclass(slots=True)
class _Row:
    """The running numbers of one row: constant memory however many cycles there are."""

    named: dict[str, Any]
    """What names the experiment; the result itself is not kept, it may weigh 100 kB."""
    energy: Energy | None
    n_done: int = 0
    seconds: Running = field(default_factory=Running)
    energy_j: RunningEnergy = field(default_factory=RunningEnergy.empty)
    energy_per: dict[str, RunningEnergy] = field(default_factory=dict)
    work: dict[str, Running] = field(default_factory=dict)
    metrics: dict[str, Running] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def add(self, result: ExperimentResult) -> None:
        self.n_done += 1
        window = headline_window(result)
        if window is not None:
            self.seconds.add(window.seconds)
            self.energy_j.add(window.energy.energy_j, window.energy.low_j, window.energy.high_j)
        for per in result.energy_per or []:
            self.energy_per.setdefault(per.unit, RunningEnergy.empty()).add(per.energy_j, per.low_j, per.high_j)
        for unit, count in (result.work or {}).items():
            self.work.setdefault(unit, Running()).add(count)
        for name, value in flattened(result.metrics or {}):
            self._add_metric(name, value)

    def _add_metric(self, name: str, value: Json) -> None:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
            self.metrics.setdefault(name, Running()).add(float(value))
        elif value is not None:
            texts = self.texts.setdefault(name, [])
            if str(value) not in texts and len(texts) < _TEXTS_KEPT:
                texts.append(str(value))

    def frozen(self) -> SummaryRow:
        energy = self.energy
        provenance, source, scope = energy_kind(energy)
        return SummaryRow(
            **self.named,
            n_done=self.n_done,
            provenance=provenance,
            source=source,
            scope=scope,
            unknown=_why_unknown(energy) if provenance is None else None,
            interval=energy.interval if energy and provenance else None,
            seconds=self.seconds.statistic("s"),
            energy_j=self.energy_j.statistic("J"),
            energy_per=_known({unit: per.statistic(f"J/{_words(unit)}") for unit, per in self.energy_per.items()}),
            work=_known({unit: count.statistic(_words(unit)) for unit, count in self.work.items()}),
            metrics=_known({name: value.statistic(unit_of(name)) for name, value in self.metrics.items()}),
            texts=self.texts,
        )


class Summary:
    """Take results and failures one by one, in any order; give rows. Holds a few numbers an experiment and metric."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, str], dict[EnergyKind, _Row]] = {}
        self._failed: dict[tuple[int, str], FailedTask] = {}
        self._classes: dict[tuple[int, str], Counter[str]] = {}

    def add(self, result: ExperimentResult) -> None:
        """Take one result; a failed one is only counted."""
        if result.failure is not None:
            kind = result.failure.failure_class
            return self.add_failed(FailedTask(result.index, result.key, result.label, kind, result.axes))
        energy = result.energy
        kinds = self._rows.setdefault((result.index, result.key), {})
        return kinds.setdefault(energy_kind(energy), _Row(_named(result), energy)).add(result)

    def add_failed(self, task: FailedTask) -> None:
        """Count a task that has no result to read."""
        known = self._failed.get((task.index, task.key))
        if known is None or not known.axes:
            self._failed[task.index, task.key] = task
        self._classes.setdefault((task.index, task.key), Counter())[task.failure_class] += 1

    def rows(self) -> list[SummaryRow]:
        """Return the rows seen so far, in the order of the plan; known energies before unknown ones."""
        rows: list[SummaryRow] = []
        for place in sorted(self._rows.keys() | self._failed.keys()):
            kinds = self._rows.get(place, {})
            ordered = sorted(kinds, key=lambda kind: (kind[0] is None, str(kind)))
            own = [kinds[kind].frozen() for kind in ordered] or [_only_failed(self._failed[place])]
            classes = self._classes.get(place, Counter())
            failed = {"n_failed": classes.total(), "failures": dict(sorted(classes.items()))}
            rows += [own[0].model_copy(update=failed), *own[1:]]
        return rows


def summarise(results: Iterable[ExperimentResult], failed: Iterable[FailedTask] = ()) -> list[SummaryRow]:
    """Return one row per experiment and kind of energy; reads the results once and keeps none."""
    summary = Summary()
    for result in results:
        summary.add(result)
    for task in failed:
        summary.add_failed(task)
    return summary.rows()


def energy_kind(energy: Energy | None) -> EnergyKind:
    """Return what an energy may be averaged with: its provenance, source and scope; three nulls when unknown."""
    if energy is None or energy.energy_j is None:
        return (None, None, None)
    return (energy.provenance, energy.source, energy.scope)


def headline_window(result: ExperimentResult) -> WindowResult | None:
    """Return the window that the result's numbers are made of."""
    return next((window for window in result.windows or [] if window.name == result.headline), None)


def flattened(metrics: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, Json]]:
    """Yield dotted name and value of every leaf. Lists are series, not metrics, and are left out."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        elif not isinstance(value, list | tuple):
            yield f"{prefix}{name}", value


def _named(one: ExperimentResult | FailedTask) -> dict[str, Any]:
    return {"index": one.index, "key": one.key, "label": one.label, "axes": dict(one.axes)}


def _only_failed(task: FailedTask) -> SummaryRow:
    return SummaryRow(**_named(task), unknown="no task of this experiment is done")


def _why_unknown(energy: Energy | None) -> str:
    return energy.reason or "no reason was given" if energy else "the workload named no headline window"


def _known(statistics: dict[str, Any]) -> dict[str, Any]:
    return {name: statistic for name, statistic in statistics.items() if statistic is not None}


def _words(unit: str) -> str:
    return unit.replace("_", " ")


def write_summary_parquet(rows: Sequence[SummaryRow], *, study_name: str, study_design_hash: str | None) -> bytes:
    """Return the summary as a Parquet file: one row an experiment and kind of energy, a column for each number.

    Axes are columns `axis.{path}`; every statistic gives `{name}.n`, `.mean`, `.sd`, `.low` and `.high`, energies
    also `.stated_low` and `.stated_high`. Units are in the fields' metadata; study, hash and version in the file's.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from joulegrid.version import __version__

    columns = _columns(rows)
    fields = [pa.field(column.name, getattr(pa, column.kind)(), metadata=column.metadata) for column in columns]
    about = {"study_name": study_name, "study_design_hash": study_design_hash or "", "joulegrid_version": __version__}
    schema = pa.schema(fields, metadata={f"joulegrid.{name}": text for name, text in about.items()})
    arrays = [pa.array(column.values, type=entry.type) for column, entry in zip(columns, fields, strict=True)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink)
    return bytes(sink.getvalue().to_pybytes())


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    kind: str
    """Name of the Arrow type."""
    values: list[Any]
    metadata: dict[str, str] | None = None


def _columns(rows: Sequence[SummaryRow]) -> list[_Column]:
    fixed = {"index": "int64", "key": "string", "label": "string", "n_done": "int64", "n_failed": "int64"}
    words = dict.fromkeys(("provenance", "source", "scope", "unknown", "interval"), "string")
    columns = [_Column(name, kind, [getattr(row, name) for row in rows]) for name, kind in (fixed | words).items()]
    columns += [_axis(path, [row.axes.get(path) for row in rows]) for path in _names(row.axes for row in rows)]
    columns.append(_Column("failures", "string", [json.dumps(row.failures) for row in rows]))
    columns += _statistic("seconds", [row.seconds for row in rows])
    columns += _statistic("energy_j", [row.energy_j for row in rows], stated=True)
    for group in ("energy_per", "work", "metrics"):
        for name in _names(getattr(row, group) for row in rows):
            values = [getattr(row, group).get(name) for row in rows]
            columns += _statistic(f"{group}.{name}", values, stated=group == "energy_per")
    for name in _names(row.texts for row in rows):
        columns.append(_Column(f"text.{name}", "string", [" | ".join(row.texts.get(name, [])) or None for row in rows]))
    return columns


def _names(groups: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))


def _axis(path: str, values: list[Json]) -> _Column:
    """Keep an axis' type where all its values share one; else write JSON text."""
    kinds = {type(value) for value in values if value is not None}
    if any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in values):
        kinds.add(object)
    for allowed, kind in (({bool}, "bool_"), ({int}, "int64"), ({int, float}, "float64"), ({str}, "string")):
        if kinds <= allowed:
            return _Column(f"axis.{path}", kind, values)
    return _Column(f"axis.{path}", "string", [json.dumps(value, sort_keys=True) for value in values])


def _statistic(name: str, values: Sequence[Statistic | None], *, stated: bool = False) -> list[_Column]:
    parts = ["mean", "sd", "low", "high", *(["stated_low", "stated_high"] if stated else [])]
    unit = next((value.unit for value in values if value is not None and value.unit), None)
    metadata = {"unit": unit} if unit else None
    columns = [_Column(f"{name}.n", "int64", [None if value is None else value.n for value in values])]
    for part in parts:
        numbers = [getattr(value, part, None) for value in values]
        columns.append(_Column(f"{name}.{part}", "float64", numbers, metadata))
    return columns
