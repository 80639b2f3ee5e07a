"""Which power sources a node has and which of them are used. An explicit choice is never replaced by another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from joulegrid.cluster.power.calibration import remembered
from joulegrid.cluster.power.estimate.known import NOTHING
from joulegrid.cluster.power.sensors.board import Board
from joulegrid.cluster.power.sensors.domain import Domain
from joulegrid.cluster.power.sensors.edges import EdgeBoard
from joulegrid.cluster.power.sensors.model import CoreWatts

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Source
    from joulegrid.cluster.power.sampler.frames import Hello
    from joulegrid.cluster.power.sensors.nvml import BoardFacts
    from joulegrid.cluster.power.sensors.series import Device


class PowerConfig(BaseModel):
    """How power is obtained. Part of the execution, never of an experiment's identity."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    source: Literal["auto", "nvml", "rapl", "model", "zeus", "codecarbon", "none", "replay"] = "auto"
    """`auto` takes what the node has: NVML for GPUs; RAPL, else the model, for CPUs. Any other value is taken
    literally and missing hardware is an error. `zeus` and `codecarbon` read GPUs as these tools do, for comparison;
    each is an extra. `replay` takes `trace` in the place of sensors: simulated."""
    trace: str | None = None
    """The file that `replay` reads, on every node; `joulegrid power record` writes one. Absolute, or seen from the
    folder that the study is started in."""
    watts_per_core: CoreWatts = CoreWatts()
    """Watts of one busy logical CPU for the model. Low 1.7: AMD EPYC 2nd generation at full load (1.69 W/vCPU, Cloud
    Carbon Footprint); mid 4.0: CodeCarbon's fallback of 4 W a thread (Cascade Lake is 3.97 W/vCPU in Cloud Carbon
    Footprint); high 8.0: twice mid."""
    period_s: float = Field(default=0.05, ge=0.005, le=1.0)
    """Seconds between two readings of a sensor; half of the 100 ms after which NVIDIA's boards publish."""

    @model_validator(mode="after")
    def _trace_is_for_replay(self) -> PowerConfig:
        if (self.source == "replay") != (self.trace is not None):
            raise ValueError("`source: replay` and `trace: FILE` belong together; give both or neither")
        return self


@dataclass(slots=True)
class Sources:
    """What is read of a node, and why the rest is not."""

    boards: dict[str, Board] = field(default_factory=dict)
    """By UUID."""
    tool_boards: dict[str, EdgeBoard] = field(default_factory=dict)
    """By UUID, where another tool is the source."""
    packages: list[Domain] = field(default_factory=list)
    drams: list[Domain] = field(default_factory=list)
    watts: CoreWatts | None = None
    """Set where the CPU is modelled."""
    missing: dict[str, str] = field(default_factory=dict)
    """`nvml`, `rapl` or `model` → why it is not used."""

    def devices(self) -> dict[str, Device]:
        """Everything that is read each period, by its name."""
        devices: list[Device] = [*self.boards.values(), *self.tool_boards.values(), *self.packages, *self.drams]
        return {device.device: device for device in devices}

    def names(self) -> list[Source]:
        """What can be read, best first; the first reading of each board must have been taken."""
        of_boards = {source for board in self.boards.values() for source in board.sources()}
        names: list[Source] = [name for name in ("counter", "instant_integral") if name in of_boards]
        names += ["rapl"] if self.packages else []
        return [*names, "model"] if self.watts else names


def sources_from(config: PowerConfig, hello: Hello) -> Sources:
    """Make the devices of what the sampling process has opened; the model takes the place of RAPL in `auto` alone."""
    domains = [Domain(device, scope, config.period_s) for device, (scope, _) in hello.domains.items()]
    packages = [domain for domain in domains if domain.scope == "cpu_package"]
    modelled = config.source == "model" or (config.source == "auto" and not packages)
    unread = {
        name: f"power: {config.source}" for name in ("nvml", "rapl", "model") if config.source not in ("auto", name)
    }
    return Sources(
        boards={uuid: _board(uuid, facts, config.period_s) for uuid, facts in hello.boards.items()},
        tool_boards={uuid: EdgeBoard(uuid, name, tool, config.period_s) for uuid, (tool, name) in hello.tools.items()},
        packages=packages,
        drams=[domain for domain in domains if domain.scope == "dram"],
        watts=config.watts_per_core if modelled else None,
        missing=dict.fromkeys(unread, f"power: {config.source}") | hello.missing,
    )


def _board(uuid: str, facts: BoardFacts, period_s: float) -> Board:
    kept = remembered(uuid, facts.driver, facts.vbios)
    return Board(uuid, facts.name, period_s, kept.known() if kept else NOTHING)
