"""A step log and an energy trace, laid over each other: what happened between each two readings of the energy."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from joulegrid.cluster.power.sensors.series import Sample

UNITS = ("prefill_token", "decode_token", "kv_token")
"""What a step's joules are made of; the last is a cached token that was read once."""
Counts = tuple[float, float, float]
"""(prefill tokens, decode tokens, KV tokens read)."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one request had in one step."""

    request: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass: when, and for whom."""

    t0_ns: int
    t1_ns: int
    parts: tuple[Part, ...]

    @property
    def counts(self) -> Counts:
        """What the whole step did."""
        prefill, decode, kv = (sum(part.counts[unit] for part in self.parts) for unit in range(len(UNITS)))
        return prefill, decode, kv


@dataclass(frozen=True, slots=True)
class Interval:
    """Between two readings: joules, and what the steps did in that time."""

    seconds: float
    energy_j: float
    counts: Counts


def trace(samples: Sequence[Sample]) -> list[tuple[int, float]]:
    """Return (t_ns, joules since the first reading) of all devices together, on the readings of the first of them.

    A reading holds for the time since the one before it. Other devices' joules are linear between their readings; only
    time that every device covers is kept.
    """
    by_device: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: sample.t_ns):
        by_device.setdefault(sample.device, []).append(sample)
    curves = [_cumulative(one) for one in by_device.values()]
    if not curves:
        return []
    first_ns, last_ns = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    times = [t_ns for t_ns, _ in curves[0] if first_ns <= t_ns <= last_ns]
    return [(t_ns, sum(_at(curve, t_ns) for curve in curves)) for t_ns in times]


def intervals(steps: Sequence[Step], curve: Sequence[tuple[int, float]], t0_ns: int, t1_ns: int) -> list[Interval]:
    """Return what steps did between each two points of an energy curve inside the window; a step that reaches over a
    point is divided by time.
    """
    inside = [point for point in curve if t0_ns <= point[0] <= t1_ns]
    ordered = sorted(steps, key=lambda step: step.t0_ns)
    first, found = 0, []
    for (then_ns, then_j), (now_ns, now_j) in pairwise(inside):
        while first < len(ordered) and ordered[first].t1_ns <= then_ns:
            first += 1
        found.append(Interval((now_ns - then_ns) / 1e9, now_j - then_j, _within(ordered, first, then_ns, now_ns)))
    return found


def _within(steps: Sequence[Step], first: int, t0_ns: int, t1_ns: int) -> Counts:
    prefill, decode, kv = 0.0, 0.0, 0.0
    for number in range(first, len(steps)):
        step = steps[number]
        if step.t0_ns >= t1_ns:
            break
        held_ns = min(step.t1_ns, t1_ns) - max(step.t0_ns, t0_ns)
        if held_ns <= 0:
            continue
        share, counts = held_ns / (step.t1_ns - step.t0_ns), step.counts
        prefill, decode, kv = prefill + share * counts[0], decode + share * counts[1], kv + share * counts[2]
    return prefill, decode, kv


def _cumulative(samples: Sequence[Sample]) -> list[tuple[int, float]]:
    curve, joules = [(samples[0].t_ns, 0.0)], 0.0
    for then, now in pairwise(samples):
        joules += now.power_w * (now.t_ns - then.t_ns) / 1e9
        curve.append((now.t_ns, joules))
    return curve


def _at(curve: Sequence[tuple[int, float]], t_ns: int) -> float:
    place = bisect_left(curve, t_ns, key=lambda point: point[0])
    after_ns, after_j = curve[place]
    if after_ns == t_ns or place == 0:
        return after_j
    before_ns, before_j = curve[place - 1]
    return before_j + (after_j - before_j) * (t_ns - before_ns) / (after_ns - before_ns)
