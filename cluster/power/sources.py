"""Which power sources a node has and which of them are used. An explicit choice is never replaced by another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from joulegrid.cluster.power.board import Board
from joulegrid.cluster.power.calibration import remembered
from joulegrid.cluster.power.domain import Domain
from joulegrid.cluster.power.estimate.known import NOTHING
from joulegrid.cluster.power.model import CoreWatts
from joulegrid.cluster.power.nvml import BoardSensor, open_sensors, versions_of
from joulegrid.cluster.power.rapl import POWERCAP, DomainSensor, open_domains
from joulegrid.errors import PreFlightError

if TYPE_CHECKING:
    from pathlib import Path

    from joulegrid.cluster.power.energy import Source
    from joulegrid.cluster.power.readings import Sensor
    from joulegrid.cluster.power.series import Device


class PowerConfig(BaseModel):
    """How power is obtained. Part of the execution, never of an experiment's identity."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    source: Literal["auto", "nvml", "rapl", "model", "none"] = "auto"
    """`auto` takes what the node has: NVML for GPUs; RAPL, else the model, for CPUs. Any other value is taken
    literally and missing hardware is an error."""
    watts_per_core: CoreWatts = CoreWatts()
    """Watts of one busy logical CPU for the model. Low 1.7: AMD EPYC 2nd generation at full load (1.69 W/vCPU, Cloud
    Carbon Footprint); mid 4.0: CodeCarbon's fallback of 4 W a thread (Cascade Lake is 3.97 W/vCPU in Cloud Carbon
    Footprint); high 8.0: twice mid."""
    period_s: float = Field(default=0.05, ge=0.005, le=1.0)
    """Seconds between two readings of a sensor; half of the 100 ms after which NVIDIA's boards publish."""


@dataclass(slots=True)
class Sources:
    """The open sensors of a node, and why others are missing."""

    board_sensors: list[BoardSensor] = field(default_factory=list)
    domain_sensors: list[DomainSensor] = field(default_factory=list)
    boards: dict[str, Board] = field(default_factory=dict)
    """By UUID."""
    packages: list[Domain] = field(default_factory=list)
    drams: list[Domain] = field(default_factory=list)
    watts: CoreWatts | None = None
    """Set where the CPU is modelled."""
    missing: dict[str, str] = field(default_factory=dict)
    """`nvml`, `rapl` or `model` → why it is not used."""

    def devices(self) -> dict[str, Device]:
        """Everything that is read each period, by the name that its sensor bears too."""
        devices: list[Device] = [*self.boards.values(), *self.packages, *self.drams]
        return {device.device: device for device in devices}

    def sensors(self) -> list[Sensor]:
        """What reads them."""
        return [*self.board_sensors, *self.domain_sensors]

    def names(self) -> list[Source]:
        """What can be read, best first; the first reading of each board must have been taken."""
        of_boards = {source for board in self.boards.values() for source in board.sources()}
        names: list[Source] = [name for name in ("counter", "instant_integral") if name in of_boards]
        names += ["rapl"] if self.packages else []
        return [*names, "model"] if self.watts else names


def choose(config: PowerConfig, powercap: Path = POWERCAP) -> Sources:
    """Open what `config.source` names; `auto` opens whatever there is and notes why the rest is missing.

    Raises `PreFlightError` with the remedy if an explicit source cannot be read.
    """
    sources = Sources()
    if config.source in ("auto", "nvml"):
        _try(config, sources, "nvml", powercap)
    if config.source in ("auto", "rapl"):
        _try(config, sources, "rapl", powercap)
    if config.source == "model" or (config.source == "auto" and not sources.packages):
        sources.watts = config.watts_per_core
    for name in ("nvml", "rapl", "model"):
        if config.source not in ("auto", name):
            sources.missing[name] = f"power: {config.source}"
    return sources


def _board(sensor: BoardSensor, period_s: float) -> Board:
    kept = remembered(sensor.device, *versions_of(sensor.device))
    return Board(sensor.device, sensor.name, period_s, kept.known() if kept else NOTHING)


def _try(config: PowerConfig, sources: Sources, name: Literal["nvml", "rapl"], powercap: Path) -> None:
    try:
        if name == "nvml":
            sources.board_sensors = open_sensors()
            sources.boards = {s.device: _board(s, config.period_s) for s in sources.board_sensors}
        else:
            sources.domain_sensors = open_domains(powercap)
            domains = [Domain(s.device, s.scope, config.period_s) for s in sources.domain_sensors]
            sources.packages = [domain for domain in domains if domain.scope == "cpu_package"]
            sources.drams = [domain for domain in domains if domain.scope == "dram"]
    except PreFlightError as error:
        if config.source == name:
            raise
        sources.missing[name] = str(error)
