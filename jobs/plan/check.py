"""What a plan is refused for before anything is started."""

from __future__ import annotations

from joulegrid.errors import UsageError
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.study.baseline import refuse_unknown_baseline

KERNEL = "kernel"


def check_plan(plan: Plan | AskedPlan) -> None:
    """Refuse a plan that is larger than the study allows (a search keeps to that), or that `check_study` refuses."""
    check_study(plan)
    limit = plan.study.execution.max_experiments
    if limit is not None and len(plan) > limit:
        raise UsageError(
            f"the plan has {len(plan):,} experiments, execution.max_experiments allows {limit:,}; "
            "narrow the sweep or raise the limit"
        )


def check_study(plan: Plan | AskedPlan) -> None:
    """Refuse what no zygote can serve, archives of no kernels, and a baseline that is none of the experiments."""
    refuse_archive(plan.workload.name, plan.study.execution.archive)
    if "script.preload" in plan.varied:
        raise UsageError(
            "script.preload: one zygote serves all experiments; give it once, in no sweep and no experiment"
        )
    if isinstance(plan, Plan):
        refuse_unknown_baseline(plan)


def refuse_archive(workload: str, wanted: bool | None) -> None:
    """Refuse archives of a workload that has nothing to archive."""
    if wanted and workload != KERNEL:
        raise UsageError(f"execution.archive: only kernels are archived, and the workload is {workload}; leave it out")
