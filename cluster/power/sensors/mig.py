"""What of a GPU's joules may belong to one of its MIG instances. NVML has no sensor for an instance: an estimate.

    share = idle · slices / all slices + (gross − idle) · activity

as Kepler and the CEEMS exporter divide: idle power by size, what is above it by work. Activity of an instance (its part
of all work on the GPU) is rarely known; then only the range between none of the work and all of it is given.
"""

from __future__ import annotations

from typing import Literal

from joulegrid.cluster.power.energy import Energy, Part


class EstimatedShare(Part):
    """An estimate of an instance's part of its parent's joules; it enters no sum and no ratio."""

    provenance: Literal["estimated"] = "estimated"
    parent: str | None
    """UUID of the whole GPU."""
    slices: int | None = None
    """Compute slices of the instance."""
    n_slices: int | None = None
    """Compute slices of the GPU."""
    activity: float | None = None
    """The instance's part of all work on the GPU, 0 to 1; null where nobody knows."""
    energy_j: float | None = None
    low_j: float | None = None
    """With unknown activity: nothing of what is above idle."""
    high_j: float | None = None
    """With unknown activity: all of it."""
    reason: str | None = None
    """Why a figure is unknown."""


def estimated_share(
    parent: Energy, idle_j: float | None, slices: tuple[int, int] | None, activity: float | None = None
) -> EstimatedShare:
    """Divide a parent's joules; `idle_j` is its idle power times the window, `slices` (instance's, all)."""
    said = EstimatedShare(parent=parent.device, activity=activity)
    if slices is not None:
        said = said.model_copy(update={"slices": slices[0], "n_slices": slices[1]})
    if parent.energy_j is None:
        return _why(said, f"the parent's energy is unknown: {parent.reason}")
    if slices is None:
        return _why(said, "NVML does not say how many slices instance and GPU have")
    if idle_j is None:
        return _why(said, "the parent's idle power was not measured (execution.baseline)")
    of_idle_j = idle_j * slices[0] / slices[1]
    above_j = max(0.0, parent.energy_j - idle_j)
    if activity is None:
        said = said.model_copy(update={"low_j": of_idle_j, "high_j": of_idle_j + above_j})
        return _why(said, "the instance's part of the GPU's work is not known; the range is from none to all of it")
    return said.model_copy(update={"energy_j": of_idle_j + above_j * activity})


def _why(said: EstimatedShare, reason: str) -> EstimatedShare:
    return said.model_copy(update={"reason": reason})
