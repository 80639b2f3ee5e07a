"""An energy of a window, shared out over the UTC hours that the window lies in. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from joulegrid.cluster.carbon.intensity import hour_of

HOUR_NS = 3_600_000_000_000
Reading = tuple[int, float]
"""(nanoseconds since 1970, watts)."""


def split(energy_j: float, t0_ns: int, t1_ns: int, power: Sequence[Reading] = ()) -> dict[datetime, float]:
    """Return hour (UTC) → joules; the sum is `energy_j`.

    `t0_ns` and `t1_ns` count from 1970. Where `power` has readings the hours' shares are those of its integral
    (trapezoids, held constant beyond the first and last reading); else the power is taken for constant.
    """
    spans = list(_spans(t0_ns, t1_ns))
    if len(spans) < 2:
        return {hour_of(t0_ns): energy_j}
    weights = _integrals(spans, sorted(power)) if power else []
    if not weights or min(weights) < 0 or sum(weights) <= 0:
        weights = [float(end - begin) for begin, end in spans]
    whole = sum(weights)
    return {hour_of(begin): energy_j * weight / whole for (begin, _), weight in zip(spans, weights, strict=True)}


def crosses_an_hour(t0_ns: int, t1_ns: int) -> bool:
    """Whether a window lies in more than one UTC hour; only then does its power matter."""
    return t1_ns > t0_ns and hour_of(t0_ns) != hour_of(t1_ns - 1)


def _spans(t0_ns: int, t1_ns: int) -> list[tuple[int, int]]:
    edges = [t0_ns, *range((t0_ns // HOUR_NS + 1) * HOUR_NS, t1_ns, HOUR_NS), t1_ns]
    return list(pairwise(edges))


def _integrals(spans: Sequence[tuple[int, int]], power: Sequence[Reading]) -> list[float]:
    first, last = spans[0][0], spans[-1][1]
    known = [(min(first, power[0][0]), power[0][1]), *power, (max(last, power[-1][0]), power[-1][1])]
    return [sum(_area(one, two, begin, end) for one, two in pairwise(known)) for begin, end in spans]


def _area(one: Reading, two: Reading, begin: int, end: int) -> float:
    """Integral between two readings, as far as it lies between `begin` and `end`."""
    low, high = max(one[0], begin), min(two[0], end)
    if high <= low:
        return 0.0
    slope = (two[1] - one[1]) / (two[0] - one[0])
    return (high - low) * (one[1] + slope * ((low + high) / 2 - one[0]))
