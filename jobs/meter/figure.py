"""What a metered command or block cost: the figures, and how they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from joulegrid.cluster.power.energy import Energy, Part
from joulegrid.cluster.power.sensors.conditions import Conditions

if TYPE_CHECKING:
    from rich.table import Table

Edges = Literal["synced", "unsynced"]

SCOPES = {"gpu_board": "GPU", "cpu_package": "CPU", "dram": "memory", "node": "node"}


class Metered(Part):
    """What was measured of a command. Energies of unlike sources or scopes stand side by side and are never summed."""

    command: list[str]
    exit_code: int
    """As a shell gives it: 128 + n after signal n."""
    seconds: float
    """From before the command's process was made until its end was seen."""
    cpu_s: float
    """CPU seconds of the command's process and of everything below it, also of what detached itself."""
    energy: Energy
    """The GPUs that the command could see, or that were named; without any the CPU."""
    beside: list[Energy]
    """CPU and memory of the machine, each by itself."""
    sampled: list[Energy] = Field(default_factory=list)
    """Every other GPU of the machine, whoever used it."""
    conditions: list[Conditions] = Field(default_factory=list)
    """What the GPUs of `energy` were like."""
    edges: Edges = "synced"
    """`unsynced` where processes of the command went on when it ended."""
    left_running: int = 0
    """How many they were."""
    notes: list[str] = Field(default_factory=list)
    """Why a source is missing."""


def uncertainty_j(energy: Energy) -> float | None:
    """Half the width of the stated interval; `None` where none is stated."""
    if energy.low_j is None or energy.high_j is None:
        return None
    return (energy.high_j - energy.low_j) / 2


def shown(metered: Metered) -> Table:
    """The figures as a table for a terminal."""
    from rich.table import Table

    title = f"{metered.seconds:.3f} s, exit code {metered.exit_code}, {metered.cpu_s:.2f} CPU seconds"
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    for heading in ("device", "energy", "interval", "power", "source"):
        justify: Literal["left", "right"] = "right" if heading in ("energy", "interval", "power") else "left"
        table.add_column(heading, justify=justify, overflow="fold")  # a UUID that is cut off is no UUID
    for energy in (*(metered.energy.parts or (metered.energy,)), *metered.beside):
        table.add_row(*_row(energy, metered.seconds))
    if metered.energy.parts:
        table.add_row(*_row(metered.energy, metered.seconds))
    return table


def _row(energy: Energy, seconds: float) -> list[str]:
    what = SCOPES.get(str(energy.scope), "")
    device = f"{what} {energy.device or (f'sum of {len(energy.parts)}' if energy.parts else '')}".strip() or "power"
    device = device.removeprefix("GPU ") if energy.device and energy.device.startswith("GPU-") else device
    if energy.energy_j is None:
        return [device, "unknown", "", "", str(energy.reason)]
    around = "" if energy.low_j is None or energy.high_j is None else f"{energy.low_j:,.2f} to {energy.high_j:,.2f} J"
    words = f"{energy.source}, {energy.provenance}" + "".join(f", {flag}" for flag in energy.flags)
    return [device, f"{energy.energy_j:,.2f} J", around, f"{energy.energy_j / seconds:,.1f} W", words]
