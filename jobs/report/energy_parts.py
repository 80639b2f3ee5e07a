"""What a summary's row tells of its energy beside the headline figure: marks, net, other devices and windows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from joulegrid.cluster.power.energy import Provenance, Scope, Source
from joulegrid.jobs.report.energy_statistic import EnergyStatistic, RunningEnergy, RunningNet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from joulegrid.actors.result import ExperimentResult, WindowResult
    from joulegrid.cluster.power.energy import Energy

DEVICES_KEPT = 20
_Kind = tuple[Provenance, Source, Scope]


class BesideEnergy(BaseModel):
    """Energy of other devices in the headline window; never part of the row's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    provenance: Provenance
    source: Source
    scope: Scope
    energy_j: EnergyStatistic


@dataclass(slots=True)
class RunningParts:
    """The same of a stream of results, in constant memory."""

    kind: tuple[Provenance | None, Source | None, Scope | None]
    """Provenance, source and scope of the row; a window of another kind is no part of it."""
    flags: Counter[str] = field(default_factory=Counter)
    checked: int = 0
    disagreeing: int = 0
    devices: dict[str, None] = field(default_factory=dict)
    differences: dict[tuple[str, str], RunningEnergy] = field(default_factory=dict)
    """Name and unit → joules for one unit."""
    net: dict[str, RunningNet] = field(default_factory=dict)
    beside: dict[_Kind, RunningEnergy] = field(default_factory=dict)
    windows: dict[str, RunningEnergy] = field(default_factory=dict)
    power: dict[str, RunningEnergy] = field(default_factory=dict)

    def add(self, result: ExperimentResult, headline: WindowResult | None) -> None:
        """Take a done result."""
        if len(self.devices) < DEVICES_KEPT:
            self.devices.setdefault(device_of(result))
        for window in result.windows or []:
            if _kind(window.energy) == self.kind and window.seconds > 0:
                _add(self.windows.setdefault(window.name, RunningEnergy()), window.energy)
                _add(self.power.setdefault(window.name, RunningEnergy()), window.energy, window.seconds)
        if headline is not None:
            self._add_headline(headline)
            for one in result.differences:
                if (one.minuend, one.provenance) == (headline.name, self.kind[0]):
                    running = self.differences.setdefault((one.name, one.unit), RunningEnergy())
                    running.add(one.energy_j, one.low_j, one.high_j, headline.energy)

    def _add_headline(self, window: WindowResult) -> None:
        energy = window.energy
        self.flags.update(energy.flags)
        if energy.cross_check is not None:
            self.checked += 1
            self.disagreeing += not energy.cross_check.agrees
        for net in energy.net:
            self.net.setdefault(net.baseline, RunningNet()).add(energy, net, window.seconds)
        for other in window.beside:
            if other.provenance and other.source and other.scope:
                _add(self.beside.setdefault((other.provenance, other.source, other.scope), RunningEnergy()), other)

    def told(self) -> dict[str, Any]:
        """Return the fields of a `SummaryRow`."""
        known = {name: one.statistic() for name, one in self.net.items()}
        return {
            "flags": dict(sorted(self.flags.items())),
            "n_cross_checked": self.checked,
            "n_disagreeing": self.disagreeing,
            "devices": list(self.devices),
            "net": {name: one for name, one in known.items() if one is not None},
            "differences": self._differences(),
            "windows": _statistics(self.windows, "J"),
            "power_w": _statistics(self.power, "W"),
            "beside": [_beside(kind, one) for kind, one in self.beside.items()],
        }

    def _differences(self) -> dict[str, EnergyStatistic]:
        told = {name: one.statistic(f"J/{unit.replace('_', ' ')}") for (name, unit), one in self.differences.items()}
        return {name: one for name, one in told.items() if one is not None}


def device_of(result: ExperimentResult) -> str:
    """Return the hardware that a result was measured on: its GPUs, of MIG instances their parents, else its node."""
    lane = result.lane
    return "+".join(sorted(lane.parent_gpu_uuids or lane.gpu_uuids)) or lane.node


def _add(running: RunningEnergy, energy: Energy, seconds: float = 1.0) -> None:
    ends = (energy.energy_j, energy.low_j, energy.high_j)
    value, low, high = (None if joules is None else joules / seconds for joules in ends)
    running.add(value, low, high, energy)


def _statistics(running: Mapping[str, RunningEnergy], unit: str) -> dict[str, EnergyStatistic]:
    told = {name: one.statistic(unit) for name, one in running.items()}
    return {name: one for name, one in told.items() if one is not None}


def _kind(energy: Energy) -> tuple[Provenance | None, Source | None, Scope | None]:
    return (energy.provenance, energy.source, energy.scope) if energy.energy_j is not None else (None, None, None)


def _beside(kind: _Kind, running: RunningEnergy) -> BesideEnergy:
    statistic = running.statistic("J")
    assert statistic is not None  # a known energy made it
    return BesideEnergy(provenance=kind[0], source=kind[1], scope=kind[2], energy_j=statistic)
