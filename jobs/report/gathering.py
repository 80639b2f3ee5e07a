"""One pass over a run's results, in constant memory however many there are.

The markers of one experiment follow one another in a listing, so that its rows are finished when the next key begins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from joulegrid.jobs.report.hardware import hardware_line
from joulegrid.jobs.report.kernel_figures import KernelResults
from joulegrid.jobs.report.run_results import Damaged
from joulegrid.jobs.report.strata import Strata
from joulegrid.jobs.report.summary import EnergyKind, Experiment, FailedTask, Summary, energy_kind, headline_window
from joulegrid.jobs.study_result import EnergyTotal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from joulegrid.actors.result import ExperimentResult
    from joulegrid.cluster.power.energy import Energy
    from joulegrid.jobs.report.failed_tasks import FailedTasks
    from joulegrid.jobs.report.footprint import Footprints
    from joulegrid.jobs.report.observations import Observations
    from joulegrid.jobs.report.rows import SummaryRows
    from joulegrid.jobs.report.run_results import Located, RunResults

_HARDWARE_KEPT = 20
_DAMAGED_KEPT = 5
_NAMES_KEPT = 20
SHARED_S = 0.1
"""In shorter windows the ticks of the cores' clocks (10 ms) say nothing of who had them."""
DISTURBED_SHARE = 0.15
"""Above this part of the cores' time, work of others is told of; driver, Ray and sampler need a few percent."""


@dataclass(slots=True)
class _Total:
    energy_j: float = 0.0
    low_j: float | None = 0.0
    high_j: float | None = 0.0
    n_windows: int = 0
    names: dict[str, None] = field(default_factory=dict)
    accuracies: set[float | None] = field(default_factory=set)

    def add(self, name: str, energy: Energy) -> None:
        self.n_windows += 1
        if len(self.names) < _NAMES_KEPT:
            self.names.setdefault(name)
        self.energy_j += energy.energy_j or 0.0
        self.accuracies.add(energy.systematic)
        self.low_j = None if self.low_j is None or energy.low_j is None else self.low_j + energy.low_j
        self.high_j = None if self.high_j is None or energy.high_j is None else self.high_j + energy.high_j


@dataclass(slots=True)
class Gathering:
    """What one pass over the results keeps."""

    rows: SummaryRows
    failed: FailedTasks
    footprints: Footprints | None = None
    observations: Observations | None = None
    """Kept where something will be compared; else it would cost memory for nothing."""
    strata: Strata = field(default_factory=Strata)
    kernels: KernelResults = field(default_factory=KernelResults)
    totals: dict[EnergyKind, _Total] = field(default_factory=dict)
    hardware: dict[str, None] = field(default_factory=dict)
    n_disturbed: int = 0
    """Results whose headline window shared its cores."""
    worst_share: float = 0.0
    n_done: int = 0
    last_cycle: int = -1
    n_damaged: int = 0
    damaged: list[Damaged] = field(default_factory=list)
    """The first of them."""

    def read(self, found: RunResults) -> None:
        """Take everything that is committed, then the failed tasks of experiments without any result."""
        for key, group in groupby(found.committed(), key=attrgetter("key")):
            for experiment in self._experiments(key, group):
                self.rows.add(experiment)
        summary = Summary()
        for task in self.failed.without_result(found):
            summary.add_failed(task)
        for experiment in summary.experiments():
            self.rows.add(experiment)

    def energy(self) -> list[EnergyTotal]:
        """Return the joules by kind, known kinds first."""
        ordered = sorted(self.totals.items(), key=lambda item: (item[0][0] is None, str(item[0])))
        return [_energy_total(kind, total) for kind, total in ordered]

    def _experiments(self, key: str, group: Iterable[Located | Damaged]) -> Iterable[Experiment]:
        summary, cycles = Summary(), set[int]()
        for one in group:
            if isinstance(one, Damaged):
                self.n_damaged += 1
                self.damaged += [one] if len(self.damaged) < _DAMAGED_KEPT else []
                continue
            self._add(one, summary)
            cycles.add(one.result.cycle)
        if cycles:
            for task in self.failed.take(key, cycles):
                summary.add_failed(FailedTask(task.index, key, task.label, task.failure_class))
        return summary.experiments()

    def _add(self, located: Located, summary: Summary) -> None:
        result = located.result
        self.n_done += 1
        self.last_cycle = max(self.last_cycle, result.cycle)
        stratum = self.strata.number(result)
        summary.add(result, stratum, self.footprints.add(located) if self.footprints else None)
        self.kernels.add(result, stratum)
        if self.observations is not None:
            self.observations.add(result, stratum)
        share = foreign_share(result)
        self.n_disturbed += share > DISTURBED_SHARE
        self.worst_share = max(self.worst_share, share)
        if len(self.hardware) < _HARDWARE_KEPT:
            self.hardware.setdefault(hardware_line(result))
        for window in result.windows or []:
            for energy in (window.energy, *window.beside):
                self.totals.setdefault(_total_kind(energy), _Total()).add(window.name, energy)


def foreign_share(result: ExperimentResult) -> float:
    """Return which part of the lane's core time others took in the headline window; 0 where it is not known."""
    window = headline_window(result)
    if window is None or window.other_cpu_s is None or not result.lane.cpus or window.seconds < SHARED_S:
        return 0.0
    return window.other_cpu_s / (window.seconds * len(result.lane.cpus))


def _total_kind(energy: Energy) -> EnergyKind:
    """What an energy may be added to; an unknown one is at least of some device."""
    return energy_kind(energy) if energy.energy_j is not None else (None, None, energy.scope)


def _energy_total(kind: EnergyKind, total: _Total) -> EnergyTotal:
    provenance, source, scope = kind
    if provenance is None:
        return EnergyTotal(
            provenance=None,
            source=None,
            scope=scope,
            energy_j=None,
            n_windows=total.n_windows,
            windows=list(total.names),
        )
    return EnergyTotal(
        provenance=provenance,
        source=source,
        scope=scope,
        energy_j=total.energy_j,
        low_j=total.low_j,
        high_j=total.high_j,
        systematic=None if None in total.accuracies else max((one for one in total.accuracies if one), default=None),
        n_windows=total.n_windows,
        windows=list(total.names),
    )
