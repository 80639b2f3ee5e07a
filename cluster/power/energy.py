"""An amount of energy that says how it was obtained."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

Source = Literal["counter", "instant_integral", "average_deconvolved", "rapl", "model"]
Provenance = Literal["measured", "modelled", "simulated"]
Scope = Literal["gpu_board", "cpu_package", "dram", "node"]


class Energy(BaseModel):
    """Joules of one device (or one sum) in one window. Unknown is null, never 0, and then `reason` says why."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    energy_j: float | None
    """Joules. A sensor's are gross, idle power included; the model's are those of active CPU time alone."""
    low_j: float | None = None
    """Lower end of the stated interval in joules."""
    high_j: float | None = None
    """Upper end of the stated interval in joules."""
    source: Source | None = None
    """What was read."""
    provenance: Provenance | None = None
    """Measured by a sensor, modelled from another quantity, or simulated."""
    scope: Scope | None = None
    """The hardware that the joules belong to."""
    device: str | None = None
    """GPU UUID or package name; null for a sum over devices."""
    interval: str | None = None
    """What the interval covers, in words."""
    reason: str | None = None
    """Why the energy is unknown."""

    @model_validator(mode="after")
    def _unknown_is_explained(self) -> Energy:
        known = self.energy_j is not None
        if known and not (self.source and self.provenance and self.scope):
            raise ValueError("a known energy names its source, provenance and scope")
        if not known and not self.reason:
            raise ValueError("an unknown energy says why in `reason`")
        return self


def unknown(reason: str, *, device: str | None = None, scope: Scope | None = None) -> Energy:
    """An energy that could not be obtained, and why."""
    return Energy(energy_j=None, reason=reason, device=device, scope=scope)


def total(parts: list[Energy]) -> Energy:
    """Sum energies of equal source, provenance and scope; anything else is refused, because it would lie.

    An unknown part makes the sum unknown.
    """
    if not parts:
        return unknown("no device was read")
    missing = [part for part in parts if part.energy_j is None]
    if missing:
        return unknown(f"{len(missing)} of {len(parts)} devices unknown: {missing[0].reason}", scope=missing[0].scope)
    kinds = {(part.source, part.provenance, part.scope) for part in parts}
    if len(kinds) > 1:
        raise ValueError(f"energies of different kinds are never summed: {sorted(map(str, kinds))}")
    first = parts[0]
    return first.model_copy(
        update={
            "energy_j": sum(part.energy_j or 0.0 for part in parts),
            "low_j": _sum_known([part.low_j for part in parts]),
            "high_j": _sum_known([part.high_j for part in parts]),
            "device": first.device if len(parts) == 1 else None,
        }
    )


def _sum_known(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
