"""From marks and counts to joules: of a window, for a unit of work, and by difference of two windows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from joulegrid.actors.costs import EnergyDifference, EnergyPer
from joulegrid.actors.difference import Spread, less
from joulegrid.actors.result import WindowResult
from joulegrid.cases.contract import SHORT_S
from joulegrid.cluster.power.energy import Energy
from joulegrid.cluster.power.sensors.conditions import Conditions
from joulegrid.jsontypes import Json

Cost = tuple[Energy, list[Energy], list[Conditions]]
"""Joules of the main devices, of others beside, and what the GPUs were like."""
Price = Callable[[int, int, float], Cost]
"""What a window cost: (t0_ns, t1_ns, cpu_s) → cost."""


def window_of(mark: dict[str, Json], price: Price, work: dict[str, float]) -> WindowResult:
    """Return a window with its joules, also for each unit of what it produced itself."""
    energy, beside, conditions = price(mark["t0_ns"], mark["t1_ns"], mark["cpu_s"])
    seconds = (mark["t1_ns"] - mark["t0_ns"]) / 1e9
    energy = flagged_short(energy, seconds)
    return WindowResult(
        **{name: value for name, value in mark.items() if name != "done"},
        seconds=seconds,
        energy=energy,
        beside=[flagged_short(one, seconds) for one in beside],
        conditions=conditions,
        energy_per=[per_unit(unit, count, energy) for unit, count in work.items() if count > 0],
    )


def flagged_short(energy: Energy, seconds: float) -> Energy:
    """Flag joules that a sensor gave for less than 10 s; modelled ones have no edges that could matter."""
    if energy.energy_j is None or energy.provenance == "modelled" or seconds >= SHORT_S or "short" in energy.flags:
        return energy
    return energy.model_copy(update={"flags": (*energy.flags, "short")})


def energy_per(windows: list[WindowResult], headline: str | None, work: dict[str, float]) -> list[EnergyPer]:
    """Divide the headline window's joules by what it produced; unknown stays null."""
    energy = next((window.energy for window in windows if window.name == headline), None)
    if energy is None:
        return []
    return [per_unit(unit, count, energy) for unit, count in work.items() if count > 0]


def per_unit(unit: str, count: float, energy: Energy) -> EnergyPer:
    """Divide joules and both ends of their interval by a count."""
    ends = (energy.energy_j, energy.low_j, energy.high_j)
    value, low, high = (None if joules is None else joules / count for joules in ends)
    return EnergyPer(unit=unit, energy_j=value, low_j=low, high_j=high)


def differed(asked: dict[str, Json], windows: Sequence[WindowResult]) -> EnergyDifference:
    """Return one repetition of a window less one of another, for each unit; null with the reason where unknown."""
    names = {name: asked[name] for name in ("name", "minuend", "subtrahend", "unit")}
    by_name = {window.name: window for window in windows}
    missing = [asked[side] for side in ("minuend", "subtrahend") if asked[side] not in by_name]
    if missing:
        return EnergyDifference(**names, energy_j=None, reason=f"there is no window {missing[0]!r}")
    whole, part = (_spread(by_name[asked[side]], asked["count"]) for side in ("minuend", "subtrahend"))
    left = less(whole, part)
    known = whole.energy.provenance if left.energy_j is not None else None
    return EnergyDifference(**names, **asdict(left), provenance=known)


def _spread(window: WindowResult, count: float) -> Spread:
    return Spread(window.energy, count * window.repeats)
