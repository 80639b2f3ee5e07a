"""The part `attribution`: do known joules per token lie inside the intervals that a step log's regression gives them?

Made-up services on a virtual clock: requests come and go for 30 s, a sensor ticks about every 100 ms with noise. A run
counts as inside when all three coefficients are inside together. What the noise is not: a kernel whose energy does not
follow its tokens; that is for a real GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.power.attribution.shares import Idle
from joulegrid.cluster.power.attribution.steps import UNITS
from tests.cluster.served import IDLE_W, JOULES, Served, divided, served

if TYPE_CHECKING:
    from joulegrid.cluster.power.attribution.shares import RequestShares

RUNS = 200
LEAST = 0.95
IDLE_OFF_W = 1.0
"""A baseline that was measured apart is off by so much (one standard deviation) in the runs that have one."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the services of a row have in common."""

    name: str
    noise: float
    """Standard deviation of a reading, as a part of it."""
    has_baseline: bool


CONDITIONS = (
    Conditions("2 % noise, idle power fitted", 0.02, has_baseline=False),
    Conditions("5 % noise, idle power fitted", 0.05, has_baseline=False),
    Conditions("2 % noise, idle power measured apart", 0.02, has_baseline=True),
)


def run(seed: int, runs: int = RUNS) -> dict[str, Any]:
    """Divide the joules of `runs` services under each of the conditions."""
    rows = [row(conditions, seed, runs) for conditions in CONDITIONS]
    for one in rows:
        units = ", ".join(f"{unit} {share:.1%}" for unit, share in one["inside_by_unit"].items())
        inside = "–" if one["inside"] is None else f"{one['inside']:.1%}"
        print(f"{one['name']:38} {one['n']:4} runs, {one['unknown']} null, all inside {inside}; {units}")
    return {
        "runs": runs,
        "joules": JOULES,
        "idle_w": IDLE_W,
        "rows": rows,
        "aims": [
            {
                "aim": f"known coefficients inside their intervals in ≥ {LEAST:.0%} of runs ({one['name']})",
                "value": one["inside"],
                "met": one["inside"] is not None and one["inside"] >= LEAST,
            }
            for one in rows
        ],
    }


def row(conditions: Conditions, seed: int, runs: int) -> dict[str, Any]:
    """Return the coverage of coefficients and of requests, over the runs that gave shares."""
    draw = Random(f"{seed} {conditions.name}")
    found = [_divided(conditions, draw) for _ in range(runs)]
    known = [(one, told) for one, told in found if told.reason is None]
    units = {unit: [_is_inside(told, unit) for _, told in known] for unit in UNITS}
    requests = [inside for one, told in known for inside in _requests_inside(one, told)]
    return {
        "name": conditions.name,
        "noise": conditions.noise,
        "n": len(known),
        "unknown": len(found) - len(known),
        "inside": _share([all(one) for one in zip(*units.values(), strict=True)]),
        "inside_by_unit": {unit: _share(inside) for unit, inside in units.items()},
        "n_requests": len(requests),
        "requests_inside": _share(requests),
    }


def _divided(conditions: Conditions, draw: Random) -> tuple[Served, RequestShares]:
    one = served(draw.randrange(2**32), conditions.noise)
    idle = Idle(IDLE_W + draw.gauss(0, IDLE_OFF_W), 2 * IDLE_OFF_W) if conditions.has_baseline else None
    return one, divided(one, idle)


def _is_inside(told: RequestShares, unit: str) -> bool:
    return any(one.unit == unit and one.low_j <= JOULES[unit] <= one.high_j for one in told.per_unit)


def _requests_inside(one: Served, told: RequestShares) -> list[bool]:
    true_j: dict[str, float] = {}
    for step in one.steps:
        for part in step.parts:
            joules = sum(count * each for count, each in zip(part.counts, JOULES.values(), strict=True))
            true_j[part.request] = true_j.get(part.request, 0.0) + joules
    return [each.low_j <= true_j[each.request] <= each.high_j for each in told.requests]


def _share(found: list[bool]) -> float | None:
    return sum(found) / len(found) if found else None
