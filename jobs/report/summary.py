"""Results over cycles: one row an experiment, a stream in, means and intervals out. Neither Ray, torch nor pandas.

A row never mixes energies: what was measured and what was modelled, by whatever source and of whatever hardware,
are rows of their own, and an unknown energy is one more kind. Nor does it mix environments that make numbers
incomparable (see `strata`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.power.energy import Energy, Provenance, Scope, Source
from joulegrid.jobs.report.energy_parts import RunningParts
from joulegrid.jobs.report.energy_statistic import RunningEnergy
from joulegrid.jobs.report.pareto import with_fronts
from joulegrid.jobs.report.quantity import unit_of
from joulegrid.jobs.report.statistic import Running
from joulegrid.jobs.report.summary_row import SummaryRow
from joulegrid.jsontypes import Json

if TYPE_CHECKING:
    from joulegrid.actors.result import ExperimentResult, WindowResult

EnergyKind = tuple[Provenance | None, Source | None, Scope | None]
_TEXTS_KEPT = 5
_GRAMS = ("average_g", "marginal_g", "facility_average_g", "facility_marginal_g")
_FOOTPRINT_UNITS = {"facility_energy_j": "J", **dict.fromkeys(_GRAMS, "g"), "energy_cost": "money", "gpu_cost": "money"}


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
    headline: str | None = None
    n_done: int = 0
    seconds: Running = field(default_factory=Running)
    energy_j: RunningEnergy = field(default_factory=RunningEnergy.empty)
    energy_per: dict[str, RunningEnergy] = field(default_factory=dict)
    work: dict[str, Running] = field(default_factory=dict)
    metrics: dict[str, Running] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    footprint: dict[str, RunningEnergy] = field(default_factory=dict)
    parts: RunningParts = field(init=False)

    def __post_init__(self) -> None:
        self.parts = RunningParts(energy_kind(self.energy))

    def add(self, result: ExperimentResult, footprint: Mapping[str, float]) -> None:
        self.n_done += 1
        self.headline = result.headline
        window = headline_window(result)
        if window is not None:
            self.seconds.add(window.seconds)
            energy = window.energy
            self.energy_j.add(energy.energy_j, energy.low_j, energy.high_j, energy)
        self.parts.add(result, window)
        for per in result.energy_per or []:
            self.energy_per.setdefault(per.unit, RunningEnergy.empty()).add(
                per.energy_j, per.low_j, per.high_j, result.energy
            )
        for unit, count in (result.work or {}).items():
            self.work.setdefault(unit, Running()).add(count)
        for name, value in flattened(result.metrics or {}):
            self._add_metric(name, value)
        for name, value in footprint.items():
            ends = _ends(window.energy if window and name != "gpu_cost" else None, value)
            self.footprint.setdefault(name, RunningEnergy.empty()).add(value, *ends)

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
            headline=self.headline,
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
            footprint=_known({name: value.statistic(_FOOTPRINT_UNITS[name]) for name, value in self.footprint.items()}),
            **self.parts.told(),
        )


@dataclass(frozen=True, slots=True)
class Experiment:
    """The rows of one experiment, each with the number of its stratum, and its failed tasks by class."""

    index: int
    key: str
    rows: list[tuple[int, SummaryRow]]
    failures: dict[str, int]

    def told(self, letters: Mapping[int, str]) -> list[SummaryRow]:
        """Return the rows as they are shown, by stratum; `letters` is empty where there is one stratum only."""
        ordered = sorted(self.rows, key=lambda pair: (len(letters.get(pair[0], "")), letters.get(pair[0], "")))
        rows = [row.model_copy(update={"stratum": letters.get(stratum)}) for stratum, row in ordered]
        failed = {"n_failed": sum(self.failures.values()), "failures": self.failures}
        return [rows[0].model_copy(update=failed), *rows[1:]]


class Summary:
    """Take results and failures one by one, in any order; give rows. Holds a few numbers an experiment and metric."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, str], dict[tuple[int, EnergyKind], _Row]] = {}
        self._failed: dict[tuple[int, str], FailedTask] = {}
        self._classes: dict[tuple[int, str], Counter[str]] = {}

    def add(self, result: ExperimentResult, stratum: int = 0, footprint: Mapping[str, float] | None = None) -> None:
        """Take one result of a stratum, a number, with the columns derived from it; a failed one is only counted."""
        if result.failure is not None:
            kind = result.failure.failure_class
            return self.add_failed(FailedTask(result.index, result.key, result.label, kind, result.axes))
        energy = result.energy
        rows = self._rows.setdefault((result.index, result.key), {})
        return rows.setdefault((stratum, energy_kind(energy)), _Row(_named(result), energy)).add(
            result, footprint or {}
        )

    def add_failed(self, task: FailedTask) -> None:
        """Count a task that has no result to read."""
        known = self._failed.get((task.index, task.key))
        if known is None or not known.axes:
            self._failed[task.index, task.key] = task
        self._classes.setdefault((task.index, task.key), Counter())[task.failure_class] += 1

    def experiments(self) -> Iterator[Experiment]:
        """Yield what was seen so far, in the order of the plan; known energies before unknown ones."""
        for place in sorted(self._rows.keys() | self._failed.keys()):
            seen = self._rows.get(place, {})
            ordered = sorted(seen, key=lambda at: (at[0], at[1][0] is None, str(at[1])))
            rows = [(at[0], seen[at].frozen()) for at in ordered] or [(0, _only_failed(self._failed[place]))]
            yield Experiment(*place, rows, dict(sorted(self._classes.get(place, Counter()).items())))

    def rows(self) -> list[SummaryRow]:
        """Return the rows seen so far as of one stratum."""
        return [row for experiment in self.experiments() for row in experiment.told({})]


def summarise(results: Iterable[ExperimentResult], failed: Iterable[FailedTask] = ()) -> list[SummaryRow]:
    """Return one row per experiment and kind of energy; reads the results once and keeps none."""
    summary = Summary()
    for result in results:
        summary.add(result)
    for task in failed:
        summary.add_failed(task)
    return with_fronts(summary.rows())


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
    return energy.reason or "no reason was given" if energy else "no window was measured"


def _ends(energy: Energy | None, value: float) -> tuple[float | None, float | None]:
    """The ends that the source states for its joules, for a number in proportion to them."""
    if energy is None or not energy.energy_j or energy.low_j is None or energy.high_j is None:
        return (None, None)
    return (value * energy.low_j / energy.energy_j, value * energy.high_j / energy.energy_j)


def _known(statistics: dict[str, Any]) -> dict[str, Any]:
    return {name: statistic for name, statistic in statistics.items() if statistic is not None}


def _words(unit: str) -> str:
    return unit.replace("_", " ")
