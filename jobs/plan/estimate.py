"""What a plan costs at least, before anything has run: memory by model, seconds by lane. No hardware is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from joulegrid.jobs.loop.schedule import gap
from joulegrid.jobs.plan.order import Order
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.study.study import ExecutionConfig

SAMPLED_POINTS = 1_000
"""Of a larger plan only so many points are estimated; the rest is taken for alike."""

WALKED_TASKS = 10_000
"""Up to here the gaps of an order are counted one by one (5 ms)."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Lower bounds for a whole study."""

    memory_bytes: dict[str, int | None]
    """Model, case or file → bytes of its largest task; `None` where its size is unknown."""
    least_seconds: float
    """On one lane: the least length of all windows, and the gaps between tasks."""


def cost_of(plan: Plan) -> Cost:
    """Estimate a plan's cost from its points."""
    execution = plan.study.execution
    step = max(1, len(plan) // SAMPLED_POINTS)
    memory: dict[str, int | None] = {}
    seconds = []
    for index in range(0, len(plan), step):
        point = plan[index]
        estimate = plan.workload.estimate(point.config, plan.places)
        seconds.append(estimate.least_seconds)
        name = str(getattr(point.config, "model", None) or plan.workload.name)
        memory[name] = _larger(memory.get(name), estimate.memory_bytes)
    n_tasks = len(plan) * execution.n_cycles
    windows_s = sum(seconds) / len(seconds) * n_tasks
    return Cost(memory, windows_s + least_gaps_s(plan.order, execution))


def least_gaps_s(order: Order, execution: ExecutionConfig) -> float:
    """Return the seconds that one lane rests in all; of a long order a lower bound (the edges of cycles count least).

    Within a cycle each step is one between experiments; `sequential` steps through the cycles of one experiment.
    """
    if not execution.config_gap_seconds and not execution.cycle_gap_seconds:
        return 0.0
    if len(order) <= WALKED_TASKS:
        return sum(gap(execution, before, after)[0] for before, after in pairwise(order))
    cycles, config_s, cycle_s = order.n_cycles, execution.config_gap_seconds, execution.cycle_gap_seconds
    if order.kind == "sequential":
        step_s = max(config_s, cycle_s) if cycles > 1 else config_s
        return order.n * (cycles - 1) * cycle_s + (order.n - 1) * step_s
    return cycles * (order.n - 1) * config_s + (cycles - 1) * cycle_s


def _larger(one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)


def duration_words(seconds: float) -> str:
    """Say a duration as people do: `45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
