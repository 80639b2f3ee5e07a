"""What equal bursts of a load say of a board's sensors. Pure arithmetic; `calibrating` runs them.

Nothing costs nothing, so the joules that bursts cause are proportional to their number, whatever is counted late. Three
things are told by it: whose the joules behind a load are, how long they last, and whether the counter sees all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from joulegrid.cluster.power.estimate.counted import edge_at, settled_period
from joulegrid.cluster.power.estimate.edge import Span
from joulegrid.cluster.power.estimate.looks import brackets_of
from joulegrid.cluster.power.estimate.tail import TAUS_S, tail_evidence
from joulegrid.cluster.power.estimate.ticks import ticks_near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joulegrid.cluster.power.estimate.known import TailVerdict
    from joulegrid.cluster.power.sensors.readings import Reading

IDLE_S = 0.45
"""Stretch before a load from which idle power is taken."""
SETTLED_S = 0.9
"""Behind a load: from here on power is idle again and nothing of the load is counted any more."""
SEEN_S = 1.45
"""Behind a load: what is looked at. Between two loads lies a little more."""
LEAST_BURSTS = 6
T95 = (12.7, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""Student's t, two-sided 95 %, for 1 to 10 degrees of freedom; 2.2 beyond."""
NO_TAIL_S = 0.006
"""A tail that is shorter ends inside any update of a counter."""
WHOLE, PART = 0.1, 0.4
"""Scatter of equal bursts over that of a counter which sees an instant of each update: below, it sees all of it."""


@dataclass(frozen=True, slots=True)
class Load:
    """A time in which `count` equal bursts ran."""

    count: int
    t0_ns: int
    t1_ns: int


@dataclass(frozen=True, slots=True)
class Burst:
    """What was counted because of a load."""

    count: int
    whole_j: float
    """Joules above idle from before the load until nothing of it is counted any more."""
    tail_j: float
    """Those of them that were counted for times behind its end."""
    drop_w: float
    """How far power fell at the end."""
    evidence: tuple[float, ...] = ()
    """Log likelihood of each time constant of `TAUS_S`."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What bursts say; `None` where they cannot tell."""

    tail: TailVerdict = "undecided"
    tail_s: float | None = None
    integrates: bool | None = None


def burst_of(readings: list[Reading], load: Load, period_s: float | None) -> Burst | None:
    """Measure one load among `readings`; `None` where the counter gave too little."""
    end_s = (load.t1_ns - load.t0_ns) / 1e9
    low, high = load.t0_ns - round(SEEN_S * 1e9), load.t1_ns + round(SEEN_S * 1e9)
    brackets = brackets_of([r for r in readings if low <= r.t_ns <= high], load.t0_ns)
    usual = settled_period(brackets, period_s)
    before = [tick for tick in ticks_near(brackets, -IDLE_S, usual)[0] if -IDLE_S <= tick.t_s < 0.0]
    late_s = end_s + SETTLED_S
    behind = [tick for tick in ticks_near(brackets, late_s, usual)[0] if late_s <= tick.t_s]
    if len(before) < 2 or len(behind) < 2:
        return None
    idle_w = (Span(before[0], before[-1]).power_w + Span(behind[0], behind[-1]).power_w) / 2
    whole = Span(before[-1], behind[-1])
    edge = edge_at(brackets, end_s, (0.0, math.inf), usual)
    spans = [Span(a, b) for a, b in pairwise(edge.after)]
    tail_j, evidence = (edge.tail.excess.joules, tail_evidence(spans, end_s, edge.left)) if edge.tail else (0.0, ())
    return Burst(load.count, whole.joules - idle_w * whole.seconds, tail_j, edge.left.power_w - idle_w, evidence)


def shown(bursts: Sequence[Burst], period_s: float) -> Shown:
    """Decide what bursts can decide."""
    if len(bursts) < LEAST_BURSTS or len({burst.count for burst in bursts}) < 3:
        return Shown()
    share, half, scatter_j = _proportional(bursts)
    each_w = median(burst.drop_w for burst in bursts if burst.count >= max(b.count for b in bursts) / 2)
    integrates = _sees_all(scatter_j / (each_w * period_s)) if each_w > 0 else None
    tail_s = _time_constant(bursts)
    if median(burst.tail_j for burst in bursts) < NO_TAIL_S * each_w:
        return Shown("decay", 0.0, integrates)
    tail: TailVerdict = "decay" if share - half > 0.5 else "lag" if share + half < 0.5 else "undecided"
    return Shown(tail, tail_s, integrates)


def _sees_all(scatter: float) -> bool | None:
    """From the scatter in watts × updates: one that sees an instant of each errs by 1/√6 = 0.41 with both edges."""
    relative = scatter / 0.41
    return True if relative < WHOLE else False if relative > PART else None


def _proportional(bursts: Sequence[Burst]) -> tuple[float, float, float]:
    """Least squares of whole = energy · count + share · tail: the share, half its 95 % interval, the scatter in joules.

    Joules that flow behind a load (decay) come on top of what is proportional to the count: share 1. Joules that a
    sensor remembers are a part of it: share 0.
    """
    nn = sum(b.count**2 for b in bursts)
    nt = sum(b.count * b.tail_j for b in bursts)
    tt = sum(b.tail_j**2 for b in bursts)
    ny = sum(b.count * b.whole_j for b in bursts)
    ty = sum(b.tail_j * b.whole_j for b in bursts)
    det, freedom = nn * tt - nt * nt, len(bursts) - 2
    told = det > 1e-9 * nn * tt > 0.0
    share = (ty * nn - ny * nt) / det if told else 0.0
    energy = (ny - share * nt) / nn
    scatter = math.sqrt(sum((b.whole_j - energy * b.count - share * b.tail_j) ** 2 for b in bursts) / freedom)
    t95 = T95[freedom - 1] if freedom <= len(T95) else 2.2
    return share, t95 * scatter * math.sqrt(nn / det) if told else math.inf, scatter


def _time_constant(bursts: Sequence[Burst]) -> float | None:
    """The mean of log τ over all bursts' likelihoods together."""
    told = [burst.evidence for burst in bursts if burst.evidence]
    if not told:
        return None
    logs = [sum(each) for each in zip(*told, strict=True)]
    weights = [math.exp(log - max(logs)) for log in logs]
    return math.exp(sum(w * math.log(tau) for w, tau in zip(weights, TAUS_S, strict=True)) / sum(weights))
