"""An amount of energy that says how it was obtained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

Source = Literal["counter", "instant_integral", "average_deconvolved", "rapl", "model", "zeus", "codecarbon"]
Provenance = Literal["measured", "modelled", "simulated"]
Scope = Literal["gpu_board", "cpu_package", "dram", "node"]


Flag = Literal[
    "short",  # under 10 s
    "counter_distrusted",  # it contradicts the power readings or the power limit, or counts a part of the time only
    "counter_stalled",
    "counter_reset",
    "power_stalled",  # instant power did not change for a second and more, and no counter says that nothing happened
    "period_drifted",  # the counter does not tick as calibration found it
    "tail_undecided",  # whether the power after the window is decay or the sensor's lag is not known
    "aliasing",  # the load may beat with the sensor's updates
    "slow_updates",  # 500 ms and more between two values
    "gap",  # readings are missing inside the window
    "throttled",
    "unsynced",  # an edge did not wait for the device
    "shared",  # others computed on the device
    "parent_gpu",  # the whole GPU of a MIG instance
]
"""What a reader must know before comparing this figure with another."""


class Part(BaseModel):
    """A frozen part of an energy."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class CrossCheck(Part):
    """The same window from a second source; it says whether the first is believed and is never averaged with it."""

    source: Source
    """What the second figure was read from."""
    energy_j: float
    """The second figure in joules."""
    disagreement: float
    """(first − second) ÷ first."""
    bound: float
    """The largest disagreement that edges, update periods and aliasing explain."""

    @property
    def agrees(self) -> bool:
        """Whether the disagreement lies within its bound."""
        return abs(self.disagreement) <= self.bound


class Net(Part):
    """Energy above an idle baseline. Never clamped at 0: a zero would hide a baseline that has drifted."""

    baseline: Literal["bare_idle", "loaded_idle"]
    """`bare_idle`: nothing holds the device; `loaded_idle`: the weights are resident and nothing computes."""
    baseline_power_w: float
    """Mean power of the baseline in watts."""
    baseline_u_w: float
    """Half the width of its 95 % interval in watts."""
    baseline_seconds: float
    """How long it was measured."""
    energy_adjusted_j: float
    """Gross joules minus baseline power times the window's seconds."""
    low_j: float | None = None
    """Lower end of its 95 % interval: edges and baseline."""
    high_j: float | None = None
    """Upper end."""


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
    systematic: float | None = None
    """The sensor's own accuracy as a fraction of the energy (NVIDIA states 0.05): common to all windows of a device, so
    it stands apart from the interval and cancels in ratios on one card, never across cards."""
    flags: tuple[Flag, ...] = ()
    """What a reader must know before comparing this figure with another."""
    cross_check: CrossCheck | None = None
    """The same window from a second source; null where there is none."""
    net: tuple[Net, ...] = ()
    """The energy above each baseline that was measured."""
    parts: tuple[Energy, ...] = ()
    """The devices of a sum, each by itself; empty for one device."""

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
    if len(parts) == 1:
        return first
    return first.model_copy(
        update={
            "energy_j": sum(part.energy_j or 0.0 for part in parts),
            "low_j": _sum_known([part.low_j for part in parts]),
            "high_j": _sum_known([part.high_j for part in parts]),
            "device": None,
            "flags": tuple(sorted({flag for part in parts for flag in part.flags})),
            "cross_check": None,
            "net": net_sums(parts),
            "parts": tuple(parts),
        }
    )


def net_sums(parts: Sequence[Energy]) -> tuple[Net, ...]:
    """Sum the nets of devices kind by kind; a kind that one of them lacks has no sum.

    Intervals are added: idle power of boards in one machine drifts together.
    """
    kinds = [net.baseline for net in parts[0].net] if parts else []
    found = {kind: [net for part in parts for net in part.net if net.baseline == kind] for kind in kinds}
    return tuple(_net_sum(nets) for nets in found.values() if len(nets) == len(parts))


def _net_sum(nets: list[Net]) -> Net:
    return nets[0].model_copy(
        update={
            "baseline_power_w": sum(net.baseline_power_w for net in nets),
            "baseline_u_w": sum(net.baseline_u_w for net in nets),
            "baseline_seconds": min(net.baseline_seconds for net in nets),
            "energy_adjusted_j": sum(net.energy_adjusted_j for net in nets),
            "low_j": _sum_known([net.low_j for net in nets]),
            "high_j": _sum_known([net.high_j for net in nets]),
        }
    )


def _sum_known(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
