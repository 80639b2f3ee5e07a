"""What a GPU was like during a window: limits, clocks, temperatures, what slowed it, and how well it was read."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from pydantic import Field

from joulegrid.cluster.power.energy import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joulegrid.cluster.power.sensors.nvml import BoardFacts, Condition

REASONS = {
    0x01: "gpu_idle",
    0x02: "application_clocks",
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake",
    0x100: "display_clocks",
}
"""Bits of nvmlClocksEventReasons."""
THROTTLING = {
    "sw_power_cap",
    "hw_slowdown",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake",
    "thermal_policy",
}
"""Reasons that slow a GPU which has work to do. A power limit is one of them, also where it is what is studied."""
AROUND_NS = 1_100_000_000
"""Conditions are read once a second, and soon after a window's edges where its marks arrived."""


class Limits(Part):
    """Power limits of a board in watts, as they were last seen in the window; null where NVML gives none."""

    current_w: float | None = None
    default_w: float | None = None
    min_w: float | None = None
    max_w: float | None = None
    requested_w: float | None = None
    enforced_w: float | None = None
    """What holds, whoever set it."""


class Clock(Part):
    """A clock over the window, from its readings once a second."""

    mean_mhz: float
    min_mhz: float


class Conditions(Part):
    """One GPU board during one window. What NVML does not give is null."""

    device: str
    """GPU UUID."""
    name: str
    simulated: bool = False
    """Whether all this was replayed from a trace."""
    driver: str | None = None
    persistence: bool | None = None
    ecc: bool | None = None
    mig: bool | None = None
    limits: Limits | None = None
    sm_clock: Clock | None = None
    memory_clock: Clock | None = None
    p_state: int | None = None
    """The slowest performance state that was seen; P0 is the fastest."""
    temperature_start_c: float | None = None
    temperature_end_c: float | None = None
    temperature_max_c: float | None = None
    throttle_reasons: tuple[str, ...] = ()
    """Names of nvmlClocksEventReasons that were seen at any reading."""
    slowed_s: dict[str, float] = Field(default_factory=dict)
    """Reason → seconds for which the driver counted it between the readings around the window."""
    throttled: bool | None = None
    """Whether anything slowed the board in the window; null where NVML says nothing of it."""
    utilisation_percent: float | None = None
    """Mean of NVML's own utilisation."""
    foreign_pids: tuple[int, ...] | None = None
    """Processes outside the task that computed on the board during the task; null where that cannot be known."""
    condition_readings: int = 0
    """Readings that all this was made of."""
    power_readings: int = 0
    """Readings of power and counter inside the window."""
    longest_gap_s: float | None = None
    """The longest time between two of them, the edges included."""
    missed_deadlines: int = 0
    """Readings of the node's sampler that were due in the window and left out."""

    def with_foreign(self, found: Sequence[tuple[str, int]] | None) -> Conditions:
        """Return a copy that names the foreign processes among these pairs of GPU and process id; `None`: unknown."""
        pids = None if found is None else tuple(sorted({pid for uuid, pid in found if uuid == self.device}))
        return self.model_copy(update={"foreign_pids": pids})


class Read(Part):
    """How well a board was read in a window."""

    power_readings: int
    longest_gap_s: float | None
    missed_deadlines: int


def conditions_of(
    device: str, facts: BoardFacts, found: Sequence[Condition], window: tuple[int, int], read: Read
) -> Conditions:
    """Put together what was seen of a board from shortly before the window's start to shortly after its end."""
    t0_ns, t1_ns = window
    inside = [one for one in found if t0_ns <= one.t_ns <= t1_ns] or list(found)
    slowed_s = _slowed_s(found)
    names = tuple(name for bit, name in REASONS.items() if any((one.throttle_reasons or 0) & bit for one in inside))
    says = bool(slowed_s) or any(one.throttle_reasons is not None for one in inside)
    slowed = THROTTLING & ({name for name, seconds in slowed_s.items() if seconds > 0} | set(names))
    warmth = [one.temperature_c for one in found if one.temperature_c is not None]
    return Conditions(
        device=device,
        name=facts.name,
        driver=facts.driver,
        persistence=facts.persistence,
        ecc=facts.ecc,
        mig=facts.mig,
        limits=_limits(inside[-1]) if inside else None,
        sm_clock=_clock([one.sm_clock_mhz for one in inside]),
        memory_clock=_clock([one.memory_clock_mhz for one in inside]),
        p_state=max((one.p_state for one in inside if one.p_state is not None), default=None),
        temperature_start_c=warmth[0] if warmth else None,
        temperature_end_c=warmth[-1] if warmth else None,
        temperature_max_c=max(warmth, default=None),
        throttle_reasons=names,
        slowed_s=slowed_s,
        throttled=bool(slowed) if says else None,
        utilisation_percent=_mean([one.utilisation_percent for one in inside]),
        condition_readings=len(inside),
        **read.model_dump(),
    )


def _slowed_s(found: Sequence[Condition]) -> dict[str, float]:
    """Differences of the driver's counters between the first and the last reading that have them."""
    counted = [one.slowed_ns for one in found if one.slowed_ns]
    if len(counted) < 2:
        return {}
    first, last = counted[0], counted[-1]
    return {name: (last[name] - first[name]) / 1e9 for name in first if last.get(name, -1) >= first[name]}


def _limits(condition: Condition) -> Limits | None:
    named = {f"{name}_w": watts for name, watts in condition.limits_w.items()}
    if not named and condition.enforced_limit_w is None:
        return None
    return Limits(**named, enforced_w=condition.enforced_limit_w)


def _clock(values: Sequence[int | None]) -> Clock | None:
    known = [value for value in values if value is not None]
    return Clock(mean_mhz=fmean(known), min_mhz=min(known)) if known else None


def _mean(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
