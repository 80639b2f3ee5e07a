"""Which plan a study has: that of a grid, or one that a search fills."""

from __future__ import annotations

from joulegrid.errors import UsageError
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.search.search import SearcherSource
from joulegrid.jobs.search.space import space_of
from joulegrid.jobs.study.study import StudyConfig


def plan_of(study: StudyConfig) -> Plan | AskedPlan:
    """Return the plan of a study: of its grid, or an empty one that a search fills."""
    if not study.is_search:
        return Plan(study)
    refuse_contradictions(study)
    return AskedPlan(study, source_of(study))


def source_of(study: StudyConfig) -> SearcherSource:
    """Return what proposes the experiments of a study that is a search."""
    if study.searcher is not None:
        return study.searcher
    assert study.search is not None
    from joulegrid.jobs.search.optuna_search import optuna_source

    return optuna_source(study.search, space_of(study.segments()[0], study.sweep))


def refuse_contradictions(study: StudyConfig) -> None:
    """Refuse a study in which two things would propose its experiments, or nothing could; `UsageError` names all."""
    both = study.search is not None and study.searcher is not None
    listed = [name for name in ("sweep", "zip", "experiments", "search") if getattr(study, name)]
    problems = []
    if study.searcher is not None and listed:
        own = "search" if both else listed[0]
        problems.append(f"{own}: {study.searcher.name} proposes the experiments already; keep one of the two")
    if study.search is not None and study.experiments:
        problems.append(
            "experiments: a search asks for points of its sweep alone; add them to the sweep, or take them out"
        )
    if study.search is not None and not study.sweep and not study.zip:
        problems.append("search: there is nothing to vary; give its space under sweep, e.g. pytorch.batch_size: [1, 8]")
    execution = study.execution
    if (
        "cycle_order" in execution.model_fields_set
        and execution.cycle_order != "sequential"
        and not execution.auto_cycles
    ):
        problems.append(
            f"execution.cycle_order: given {execution.cycle_order!r}; a search runs all cycles of an experiment, then "
            "is told: leave it out, or say sequential"
        )
    if execution.auto_cycles is not None:
        problems.append(
            "execution.n_cycles: auto needs a grid: a search is told of each experiment when its cycles end"
        )
    if problems:
        raise UsageError("\n".join(problems))
