"""What an attempt has spent, by hour: what budgets are counted from. Every window counts, whatever became of it."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from joulegrid.actors.outcome import Spent
from joulegrid.actors.result import WindowResult
from joulegrid.cluster.carbon.hours import split
from joulegrid.jsontypes import Json


def spent_in(windows: Iterable[WindowResult], unix_offset_ns: int) -> tuple[Spent, ...]:
    """Return the joules of all devices in these windows, by hour and provenance; an unknown energy stands as null."""
    found: dict[tuple[int, str], float] = {}
    unknown: list[Spent] = []
    for window in windows:
        t0_ns, t1_ns = window.t0_ns + unix_offset_ns, window.t1_ns + unix_offset_ns
        for energy in (window.energy, *window.beside):
            if energy.energy_j is None or energy.provenance is None:
                unknown += [Spent(t0_ns // 10**9, None, None)] if energy is window.energy else []
                continue
            for hour, joules in split(energy.energy_j, t0_ns, t1_ns).items():
                at = (int(hour.timestamp()), energy.provenance)
                found[at] = found.get(at, 0.0) + joules
    return (*(Spent(*at, joules) for at, joules in sorted(found.items())), *unknown)


def spent_in_raw(raw: Json, unix_offset_ns: int) -> tuple[Spent, ...]:
    """Return the same of what a contaminated attempt has left; empty where that is of another form."""
    try:
        return spent_in([WindowResult.model_validate(one) for one in raw["windows"]], unix_offset_ns)
    except (ValidationError, KeyError, TypeError):
        return ()
