"""Joules for a unit of work, as a result keeps them."""

from __future__ import annotations

from typing import Literal

from joulegrid.cluster.power.energy import Part, Provenance


class EnergyPer(Part):
    """Joules for one unit of work, e.g. one output token."""

    unit: str
    energy_j: float | None
    low_j: float | None = None
    high_j: float | None = None


class EnergyDifference(Part):
    """A cost by difference: one repetition of a window less one repetition of another, with the errors of both."""

    name: str
    method: Literal["difference"] = "difference"
    minuend: str
    subtrahend: str
    unit: str
    energy_j: float | None
    """Joules for one unit; may be negative where the errors are larger than the cost."""
    low_j: float | None = None
    high_j: float | None = None
    provenance: Provenance | None = None
    reason: str | None = None
    """Why it is unknown."""
