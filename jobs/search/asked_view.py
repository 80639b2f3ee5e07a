"""The plan of a search as text and as JSON, before anything was asked in earnest."""

from __future__ import annotations

from collections.abc import Iterator

from joulegrid.errors import UsageError
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.search.asking import Search, nothing_to_run
from joulegrid.jobs.search.search import Wait
from joulegrid.jsontypes import Json

FIRST_SHOWN = 5


def asked_json(plan: AskedPlan, *, points: bool = False) -> dict[str, Json]:
    """Return the facts of a search for machines; with `points` the first few experiments, where asking is cheap."""
    execution, limit = plan.study.execution, plan.limit
    facts: dict[str, Json] = {
        "study_name": plan.study.study_name,
        "study_design_hash": plan.study_design_hash,
        "searcher": plan.source.name,
        "n_points": plan.n_points,
        "n_experiments": None,
        "max_experiments": limit,
        "n_cycles": execution.n_cycles,
        "max_tasks": None if limit is None else limit * execution.n_cycles,
    }
    ask_first(plan)  # also where nobody wants to see them: a study that cannot run anything is told of here
    if points:
        facts["points"] = [{"index": point.index, "key": point.key, "axes": point.axes} for point in plan]
        facts["skipped"] = [{"reason": one.reason, "count": one.count, "example": one.example} for one in plan.skipped]
    return facts


def asked_text(plan: AskedPlan) -> str:
    """Return the plan of a search for people, with the first few experiments where asking is cheap."""
    cycles, limit = plan.study.execution.n_cycles, plan.limit
    lines = [
        f"study        {plan.study.study_name}",
        f"design       {plan.study_design_hash}",
        f"searcher     {plan.source.name}, asked while the study runs",
        f"experiments  {_most(limit)}",
        f"tasks        {_most(limit and limit * cycles)}, all cycles ({cycles}) of an experiment before the next",
        *_space_lines(plan),
    ]
    if plan.study.search is not None:
        return "\n".join(lines)
    more = ask_first(plan)
    lines += [f"skipped      {one.count:,} × {one.reason} (e.g. {one.example})" for one in plan.skipped]
    lines += ["", *(f"{index:>7}  {label}" for index, label in plan.point_labels())]
    return "\n".join([*lines, *([f"{'…':>7}  {more}"] if more else [])])


def ask_first(plan: AskedPlan) -> str | None:
    """Ask for the first few experiments into an empty plan; return how it would go on, `None` where that was all.

    A sampler of the section `search` is not begun, because that imports its library.
    """
    if plan.study.search is not None:
        return None
    search, found = Search(plan, plan.source.make()), None
    while len(plan) < FIRST_SHOWN:
        found = search.next_index()
        if isinstance(found, Wait):
            return "the rest depends on what these come to"
        if found is None:
            break
    if not len(plan):
        raise UsageError(nothing_to_run(search))
    if found is None:
        return None
    return "and so on, as the searcher proposes"


def _space_lines(plan: AskedPlan) -> Iterator[str]:
    search = plan.study.search
    if search is None or plan.space is None:
        return
    for objective in search.objectives:
        yield f"objective    {objective.direction} {objective.metric}"
    count = "a continuum" if plan.n_points is None else f"{plan.n_points:,} points"
    yield f"space        {count}: " + "; ".join(f"{name} {what}" for name, what in plan.space.words())


def _most(limit: int | None) -> str:
    return (
        "as many as are proposed; execution.max_experiments would limit them" if limit is None else f"{limit:,} at most"
    )
