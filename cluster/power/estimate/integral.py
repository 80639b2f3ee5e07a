"""The joules of a window from instant power: each published value stands for the time since the one before it.

A driver publishes power for an interval that has *ended*, and on many boards for a part of it alone (about 25 of 100 ms
on A100 and H100, arXiv:2312.02741). So values are held backwards; those that were sensed across an edge are not used,
and the edges are carried by the next value inside. What a sensed part can miss follows from how much values vary.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from joulegrid.cluster.power.estimate.known import Bounds
from joulegrid.cluster.power.estimate.looks import MOST_W
from joulegrid.cluster.power.sensors.series import UnreadError

if TYPE_CHECKING:
    from joulegrid.cluster.power.sensors.readings import Reading

STALL_S = 1.5
USUAL_UPDATE_S = 0.1
SPIKE = 3.0
"""A single value so many times above both neighbours is a misread: power is limited, and a load lasts for two updates
or is too short to matter."""


@dataclass(frozen=True, slots=True)
class Published:
    """Instant power from `t_s` (first seen) until the next value."""

    t_s: float
    power_w: float


@dataclass(frozen=True, slots=True)
class Integrated:
    """A window's joules by instant power."""

    bounds: Bounds
    missed_j: float
    """Half of the 95 % interval for what the sensed part of each update misses."""
    variation: float
    """Standard deviation of the published power over its mean."""
    update_s: float


def powers_of(readings: list[Reading], origin_ns: int) -> list[Published]:
    """Every reading of instant power, misread spikes left out."""
    looks = [Published((r.t_ns - origin_ns) / 1e9, r.power_w) for r in readings if r.power_w is not None]
    return [look for i, look in enumerate(looks) if look.power_w <= MOST_W and not _spike(looks, i)]


def _spike(looks: list[Published], i: int) -> bool:
    around = looks[max(0, i - 1) : i] + looks[i + 1 : i + 2]
    return len(around) == 2 and looks[i].power_w > SPIKE * max(1.0, *(look.power_w for look in around)) + 100.0


def update_of(looks: list[Published]) -> float | None:
    """The usual time between two new values; `None` while power does not change."""
    turns = [now.t_s for then, now in pairwise(looks) if now.power_w != then.power_w]
    steps = sorted(b - a for a, b in pairwise(turns))
    return steps[len(steps) // 2] if len(steps) >= 3 else None


def integrated(looks: list[Published], t1_s: float, update_s: float | None) -> Integrated:
    """Joules between 0 and `t1_s`. Raises `UnreadError` where readings are missing or power reads 0 W throughout."""
    update = min(update_of(looks) or update_s or USUAL_UPDATE_S, 1.0)
    first, last = bisect_right(looks, 0.0, key=_time), bisect_right(looks, t1_s, key=_time)
    if first == 0 or last == len(looks):
        raise UnreadError("no power reading for a part of the window")
    widest = max(b.t_s - a.t_s for a, b in pairwise(looks[first - 1 : last + 1]))
    if widest > STALL_S:
        raise UnreadError(f"no power reading for {widest:.1f} s inside the window")
    inside = looks[bisect_left(looks, min(update, t1_s / 2), key=_time) : last] or looks[first - 1 : last + 1]
    joules = inside[0].power_w * inside[0].t_s + inside[-1].power_w * (t1_s - inside[-1].t_s)
    joules += sum(now.power_w * (now.t_s - then.t_s) for then, now in pairwise(inside))
    if joules <= 0.0:
        raise UnreadError("the power reading stays at 0 W")
    return _bounded(joules, (inside, looks[first - 1 : last + 1]), t1_s, update)


def _bounded(joules: float, looks: tuple[list[Published], list[Published]], t1_s: float, update: float) -> Integrated:
    inside, around = looks
    values = _per_update(inside, update)
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1))
    edges = [abs(around[0].power_w - inside[0].power_w), abs(around[-1].power_w - inside[-1].power_w)]
    edge_j = (0.15 * sum(edges) + spread + 0.01 * mean) * update
    missed_j = spread * t1_s * math.sqrt(_memory(values, mean) / len(values))
    half_j = 2 * math.hypot(edge_j, missed_j) + 0.002 * joules
    return Integrated(Bounds.around(joules, half_j), 2 * missed_j, spread / max(mean, 1e-9), update)


def _per_update(looks: list[Published], update: float) -> list[float]:
    """One value for each update: faster looks repeat what was published."""
    values, due = [], -math.inf
    for look in looks:
        if look.t_s >= due:
            values.append(look.power_w)
            due = look.t_s + 0.9 * update
    return values


def _memory(values: list[float], mean: float) -> float:
    """How many updates one deviation lasts (integrated autocorrelation); slow beats with the load make it long."""
    square = sum((value - mean) ** 2 for value in values)
    if square <= 0.0 or len(values) < 4:
        return 1.0
    memory = 1.0
    for lag in range(1, len(values) // 2):
        r = sum((a - mean) * (b - mean) for a, b in zip(values, values[lag:], strict=False)) / square
        if r < 0.1:
            break
        memory += 2 * r
    return memory


def _time(look: Published) -> float:
    return look.t_s
