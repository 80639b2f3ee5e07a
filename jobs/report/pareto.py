"""The Pareto front of joules for a unit of work against throughput: which experiments no other one beats. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from joulegrid.jobs.report.summary_row import SummaryRow

# What a reader of an inference study looks for first: the number under any of its usual names.
THROUGHPUT = re.compile(r"(^|\.)output_tokens_per_s(econd)?(\.mean)?$")
FIRST_UNITS = ("output_token", "total_token")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row lies in the plane, and with which others it may be compared."""

    among: tuple[object, ...]
    """Kind of energy, stratum, unit of work and name of the throughput."""
    joules: float
    per_s: float

    @property
    def losses(self) -> tuple[float, float]:
        """Both numbers so that less is better."""
        return (self.joules, -self.per_s)


def place_of(row: SummaryRow, stratum: int | str | None = None) -> Place | None:
    """Return where a row lies; `None` where it lacks a known energy for a unit of work, or a throughput."""
    unit, throughput = headline_unit([row]), headline_throughput([row])
    if unit is None or throughput is None:
        return None
    among = (row.provenance, row.source, row.scope, stratum, unit, throughput)
    return Place(among, row.energy_per[unit].mean, row.metrics[throughput].mean)


def headline_unit(rows: Iterable[SummaryRow]) -> str | None:
    """Return the unit of work whose joules are told first: output tokens, else the first that is no total."""
    units = dict.fromkeys(unit for row in rows for unit in row.energy_per if not unit.startswith("total"))
    return FIRST_UNITS[0] if FIRST_UNITS[0] in units else next(iter(units), None)


def headline_throughput(rows: Iterable[SummaryRow]) -> str | None:
    """Return the name of the metric that is the output throughput; `None` where a workload has none."""
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    return next((name for name in names if THROUGHPUT.search(name)), None)


def beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether one, of numbers where less is better, is nowhere worse and somewhere better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


@dataclass(slots=True)
class Fronts:
    """Takes places one by one and keeps those that no other beats; memory is that of the fronts."""

    _kept: dict[tuple[object, ...], set[tuple[float, float]]] = field(default_factory=dict)

    def add(self, place: Place) -> None:
        """Take a place."""
        front = self._kept.setdefault(place.among, set())
        mine = place.losses
        if not any(beats(theirs, mine) for theirs in front):
            front.difference_update([theirs for theirs in front if beats(mine, theirs)])
            front.add(mine)

    def holds(self, place: Place | None) -> bool | None:
        """Whether a place that was taken is on its front; `None` for no place."""
        return None if place is None else place.losses in self._kept.get(place.among, ())


def with_fronts(rows: Sequence[SummaryRow]) -> list[SummaryRow]:
    """Return rows that fit into memory with `on_front` set."""
    fronts, places = Fronts(), [place_of(row, row.stratum) for row in rows]
    for place in places:
        if place is not None:
            fronts.add(place)
    return [row.model_copy(update={"on_front": fronts.holds(place)}) for row, place in zip(rows, places, strict=True)]
