"""The numbers of a run that may be compared, by device and cycle: gathered result by result, judged at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from joulegrid.errors import UsageError
from joulegrid.jobs.report.columns import FIRST_TOKEN
from joulegrid.jobs.report.comparison import DEVICES_TO_GENERALISE, Comparison, Comparisons, LogRatio, judged, log_ratio
from joulegrid.jobs.report.energy_parts import device_of
from joulegrid.jobs.report.energy_statistic import shares_a_cause
from joulegrid.jobs.report.pareto import FIRST_UNITS, THROUGHPUT
from joulegrid.jobs.report.quantity import plain
from joulegrid.jobs.report.statistic import Running
from joulegrid.jobs.report.summary import EnergyKind, energy_kind, flattened, headline_window
from joulegrid.jobs.study.baseline import nearest

if TYPE_CHECKING:
    from joulegrid.actors.result import ExperimentResult
    from joulegrid.cluster.power.energy import Energy

EXPERIMENTS_COMPARED = 1_000
"""More tests in one family would need differences of a size that no study has, and memory for all their blocks."""
_NAMES_SHOWN = 5
_NO_KIND: EnergyKind = (None, None, None)


@dataclass(frozen=True, slots=True)
class Group:
    """What a number is and with which others of its name it may be compared."""

    metric: str
    kind: EnergyKind
    stratum: int


@dataclass(slots=True)
class Blocks:
    """One number of one experiment: (device, cycle) → value."""

    values: dict[tuple[str, int], float] = field(default_factory=dict)
    common: Running = field(default_factory=Running)
    """Relative half-widths of edges that every cycle shares; 0 where edges are independent."""


@dataclass(slots=True)
class Observed:
    """One experiment."""

    index: int
    key: str
    label: str
    groups: dict[Group, Blocks] = field(default_factory=dict)


@dataclass(slots=True)
class Observations:
    """Takes results; memory is that of their numbers, so it serves a bounded count of experiments."""

    by_key: dict[str, Observed] = field(default_factory=dict)
    too_many: bool = False

    def add(self, result: ExperimentResult, stratum: int) -> None:
        """Take a done result."""
        if result.key not in self.by_key and len(self.by_key) >= EXPERIMENTS_COMPARED:
            self.too_many = True
        if self.too_many:
            return self.by_key.clear()
        seen = self.by_key.setdefault(result.key, Observed(result.index, result.key, plain(result.label)))
        place = (device_of(result), result.cycle)
        for metric, (kind, value, common) in numbers_of(result).items():
            if value > 0 and math.isfinite(value):
                blocks = seen.groups.setdefault(Group(metric, kind, stratum), Blocks())
                blocks.values[place] = value
                blocks.common.add(common)
        return None

    def baseline(self, name: str) -> Observed:
        """Return the experiment of this label or key; `UsageError` names the nearest ones."""
        found = [one for one in self.by_key.values() if name in (one.label, one.key)]
        if len(found) == 1:
            return found[0]
        if found:
            keys = ", ".join(sorted(one.key for one in found)[:_NAMES_SHOWN])
            raise UsageError(f"baseline: {len(found)} experiments are named {name!r}; give the key of one: {keys}")
        labels = [one.label for one in sorted(self.by_key.values(), key=lambda one: one.index)]
        named = nearest(name, labels)
        raise UsageError(f"baseline: no experiment with a done task is named {name!r}; give a label or a key: {named}")

    def compared(self, name: str, letters: Mapping[int, str]) -> Comparisons:
        """Return every other experiment against the baseline of this name; `UsageError` where there is none."""
        if self.too_many:
            why = f"more than {EXPERIMENTS_COMPARED:,} experiments are done: too many tests for one family"
            return Comparisons(baseline=name, reason=why)
        baseline = self.baseline(name)
        others = sorted((one for one in self.by_key.values() if one is not baseline), key=lambda one: one.index)
        pairs = [pair for other in others for pair in _pairs(other, baseline, letters)]
        judged_ones = judged(pairs)
        return Comparisons(
            baseline=name,
            baseline_key=baseline.key,
            baseline_label=baseline.label,
            metrics=list(dict.fromkeys(one.metric for one in judged_ones)),
            family_size=sum(one.p is not None for one in judged_ones),
            these_devices_only=min((one.n_devices for one in judged_ones), default=0) < DEVICES_TO_GENERALISE,
            comparisons=judged_ones,
            reason=None if judged_ones else "no other experiment has a done task",
        )


def numbers_of(result: ExperimentResult) -> dict[str, tuple[EnergyKind, float, float]]:
    """Return metric → kind of energy, value and relative width of shared edges: energy, throughput, latency.

    Energy is for the first unit of work, or of the whole window; the seconds of a repetition where a workload tells
    neither throughput nor latency (a window's own length is what the study asked for).
    """
    found = dict(_energy(result))
    for name, value in flattened(result.metrics or {}):
        known = THROUGHPUT.search(name) or FIRST_TOKEN.search(name)
        if known and isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = (_NO_KIND, float(value), 0.0)
    window = headline_window(result)
    if window is not None and not any(kind == _NO_KIND for kind, _, _ in found.values()):
        found["seconds"] = (_NO_KIND, window.seconds / window.repeats, 0.0)
    return found


def _energy(result: ExperimentResult) -> Iterator[tuple[str, tuple[EnergyKind, float, float]]]:
    energy = result.energy
    if energy is None or energy.energy_j is None:
        return
    per = {one.unit: one.energy_j for one in result.energy_per or [] if one.energy_j is not None}
    unit = next((unit for unit in (FIRST_UNITS[0], *per) if unit in per), None)
    name, value = ("energy_j", energy.energy_j) if unit is None else (f"energy_per.{unit}", per[unit])
    yield name, (energy_kind(energy), value, _common(energy))


def _common(energy: Energy) -> float:
    if not shares_a_cause(energy) or not energy.energy_j or energy.low_j is None or energy.high_j is None:
        return 0.0
    return (energy.high_j - energy.low_j) / 2 / energy.energy_j


def _pairs(
    other: Observed, baseline: Observed, letters: Mapping[int, str]
) -> Iterator[tuple[Comparison, LogRatio | None]]:
    for group, blocks in other.groups.items():
        provenance, source, scope = group.kind
        against = baseline.groups.get(group, Blocks())
        logs: dict[str, list[float]] = {}
        for (device, cycle), value in blocks.values.items():
            if (device, cycle) in against.values:
                logs.setdefault(device, []).append(math.log(value / against.values[device, cycle]))
        comparison = Comparison(
            index=other.index,
            key=other.key,
            label=other.label,
            stratum=letters.get(group.stratum),
            metric=group.metric,
            provenance=provenance,
            source=source,
            scope=scope,
            reason=_why_none(group, baseline),
        )
        yield comparison, log_ratio(logs, math.hypot(blocks.common.mean, against.common.mean))


def _why_none(group: Group, baseline: Observed) -> str:
    if group in baseline.groups:
        return "never measured on the same device in the same cycle as the baseline"
    if any(known.metric == group.metric for known in baseline.groups):
        return "the baseline's was obtained otherwise, or in another environment"
    return "the baseline has no such number"
