"""A plan as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from joulegrid.cluster.carbon.config import unknown_grams
from joulegrid.jobs.plan.estimate import cost_of, duration_words
from joulegrid.jobs.plan.plan import REASONS_SHOWN, Plan
from joulegrid.jobs.report.quantity import counted
from joulegrid.jsontypes import Json

_UNKNOWN = "not known before it ran"


def plan_json(plan: Plan, *, points: bool = False) -> dict[str, Json]:
    """Return the plan's facts for machines."""
    execution, cost = plan.study.execution, cost_of(plan)
    facts: dict[str, Json] = {
        "study_name": plan.study.study_name,
        "study_design_hash": plan.study_design_hash,
        "n_points": plan.n_points,
        "n_experiments": len(plan),
        "n_duplicates": plan.n_duplicates,
        "skipped": [asdict(one) for one in plan.skipped],
        "n_cycles": execution.n_cycles,
        "cycle_order": execution.cycle_order,
        "n_tasks": len(plan) * execution.n_cycles,
        "n_cycles_most": execution.most_cycles,
        "memory_bytes": cost.memory_bytes,
        "least_seconds": round(cost.least_seconds, 3),
    }
    if points:
        facts["points"] = [{"index": point.index, "key": point.key, "axes": point.axes} for point in plan]
    return facts


def plan_text(plan: Plan, *, points: bool = False) -> str:
    """Return the plan for people."""
    execution, cost = plan.study.execution, cost_of(plan)
    n_tasks = len(plan) * execution.n_cycles
    lines = [
        f"study        {plan.study.study_name}",
        f"design       {plan.study_design_hash}",
        f"experiments  {len(plan):,}{_of(plan)}",
        f"tasks        {n_tasks:,} = {_product(plan)}, {execution.cycle_order}",
        f"least time   {_least_time(cost.least_seconds)}",
        f"memory       {_memory(cost.memory_bytes)}",
    ]
    lines += [f"note         {note}" for note in _notes(plan)]
    lines += [f"skipped      {one.count:,} × {one.reason} (e.g. {one.example})" for one in plan.skipped[:REASONS_SHOWN]]
    if len(plan.skipped) > REASONS_SHOWN:
        lines += [f"skipped      … for {len(plan.skipped) - REASONS_SHOWN:,} further reasons (all of them: --json)"]
    if points:
        lines += ["", *(f"{index:>7}  {label}" for index, label in plan.point_labels())]
    return "\n".join(lines)


def _notes(plan: Plan) -> Iterator[str]:
    auto = plan.study.execution.auto_cycles
    if auto is not None:
        more, width = auto.most - auto.pilot, f"±{auto.half_width:.2%} of its mean"
        yield f"n_cycles auto: {auto.pilot} + up to {more} cycles, so that every experiment comes to {width}"
    if plan.order.note:
        yield plan.order.note
    warning = unknown_grams(plan.study.execution.carbon)
    if warning is not None:
        yield warning
    limit = plan.study.execution.max_experiments
    if limit is not None and len(plan) > limit:
        yield f"more than execution.max_experiments = {limit:,}: `run` refuses this plan"


def _of(plan: Plan) -> str:
    skipped = sum(one.count for one in plan.skipped)
    parts = [f"{skipped:,} refused"] if skipped else []
    parts += [f"{plan.n_duplicates:,} equivalent to another"] if plan.n_duplicates else []
    return f" of {plan.n_points:,} points ({', '.join(parts)})" if parts else ""


def _product(plan: Plan) -> str:
    return f"{counted(len(plan), 'experiment')} × {counted(plan.study.execution.n_cycles, 'cycle')}"


def _least_time(seconds: float) -> str:
    if seconds <= 0:
        return _UNKNOWN
    return f"{duration_words(seconds)} on one lane (windows and gaps; loading comes on top)"


def _memory(by_model: dict[str, int | None]) -> str:
    if all(size is None for size in by_model.values()):
        return _UNKNOWN
    shown = [f"{name} {_bytes(size)}" for name, size in by_model.items()]
    return "; ".join(shown) + " at most for one task (weights and cache, estimated)"


def _bytes(size: int | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
