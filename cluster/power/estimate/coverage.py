"""Whether a counter integrates all the time, or only what the power sensor saw in each update.

On many boards instant power is the mean of a part of each update. Where a load varies, a true integrator then differs
from it tick by tick; a counter that is fed with the same samples agrees with it exactly. A counter that agrees may
also belong to a board whose power covers the whole update. That cannot be told apart, so it counts as unproven; so
does a counter that is updated at other times than the power.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joulegrid.cluster.power.estimate.counted import Edge
    from joulegrid.cluster.power.estimate.looks import Bracket

VARIES = 0.03
"""Standard deviation of power from tick to tick over its mean from which the comparison says something."""
APART = 0.3
"""Difference between counter and power over that variation, from which a counter has seen more than the power."""
BLUR = 0.03
"""What the dates of single ticks may add to it, over the mean power."""
LEAST = 6
FAR = 0.3
SURE = 0.05
"""Standard deviation of what both sides of an edge expect over what a counter of a part of the time is off by."""
NARROW_S, LEAST_NARROW = 0.012, 3
"""Fast looks show whether counter and power are updated at once: two samples of other times differ anyway."""


def divides(edge: Edge) -> bool:
    """Whether the interval at the start of a load holds what both sides expect: a sensed part of it holds one side.

    With a sensed part w of an interval T and an edge at least 0.3 T from both ticks, a counter that sees w alone is off
    by the step times the smaller of the time before the edge and (T/w − 1) times the time behind it.
    """
    left, right = edge.forecasts()
    smaller_s = min(edge.left_s, edge.span.seconds - edge.left_s)
    step_j = (right.power_w - left.power_w) * smaller_s
    if smaller_s < FAR * edge.span.seconds or right.power_w < 1.5 * left.power_w:
        return False
    surprise_j = abs(edge.span.joules - left.joules - right.joules)
    return math.sqrt(left.variance + right.variance) < SURE * step_j and surprise_j < 2 * SURE * step_j


def integrates(brackets: list[Bracket], window: tuple[float, float], period_s: float) -> tuple[bool, bool]:
    """Whether the counter is proven to integrate, and whether the load varied so that it matters."""
    near = [b for b in brackets if window[0] <= b.middle_s <= window[1] and b.power_w is not None]
    powers = [b.power_w or 0.0 for b in near]
    if len(powers) < 2:
        return False, False
    mean = sum(powers) / len(powers)
    steps = [b - a for a, b in pairwise(powers)]
    variation = math.sqrt(sum(step * step for step in steps) / (2 * len(steps)))
    spread = math.sqrt(sum((power - mean) ** 2 for power in powers) / len(powers))
    varied = max(variation, spread) > VARIES * mean
    single = [
        (b.counter_j - a.counter_j) / period_s - (b.power_w or 0.0)
        for a, b in pairwise(near)
        if 0.6 * period_s < b.middle_s - a.middle_s < 1.4 * period_s
    ]
    if len(single) < LEAST or not varied or not _together(brackets, window):
        return False, varied
    apart = math.sqrt(sum(off * off for off in single) / len(single))
    return apart > max(APART * variation, BLUR * mean), varied


def _together(brackets: list[Bracket], window: tuple[float, float]) -> bool:
    """Whether power was updated in the same looks as the counter wherever looks were close, behind the marks."""
    low_s, high_s = window[0] - 0.2, window[1] + 0.2
    narrow = [b for b in brackets if low_s <= b.middle_s <= high_s and b.high_s - b.low_s < NARROW_S]
    return len(narrow) >= LEAST_NARROW and all(b.together for b in narrow)
