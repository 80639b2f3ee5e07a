"""What the verbs do once their arguments are read. Imports of Ray, pyarrow and figures happen where they are needed."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulegrid.errors import UsageError
from joulegrid.jobs.loop.continuing import Choice
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.plan_view import plan_json, plan_text
from joulegrid.jobs.plan.planning import plan_of
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.search.asked_view import asked_json, asked_text
from joulegrid.jobs.status.metrics import Endpoint
from joulegrid.jobs.study.load import Overrides, load_study
from joulegrid.jobs.study.study import StudyConfig

if TYPE_CHECKING:
    from joulegrid.jobs.status.progress import Display
    from joulegrid.jobs.study_result import StudyResult


BUDGET_SPENT = 3
"""Exit code of a run that stopped because its joules or grams were spent."""


@dataclass(frozen=True, slots=True)
class StudyFlags:
    """Flags that change a study."""

    sets: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()
    cycles: int | None = None
    order: str | None = None
    no_gaps: bool = False
    output: str | None = None
    power: str | None = None

    def overrides(self) -> Overrides:
        """Return them as what they add to the study file."""
        execution: dict[str, Any] = {"n_cycles": self.cycles, "cycle_order": self.order}
        execution = {name: value for name, value in execution.items() if value is not None}
        if self.no_gaps:
            execution |= {"config_gap_seconds": 0.0, "cycle_gap_seconds": 0.0}
        return Overrides(self.sets, self.sweeps, execution, self.output, self.power)


@dataclass(frozen=True, slots=True)
class RunFlags:
    """Flags of one start."""

    address: str | None = None
    choice: Choice = Choice()
    yes: bool = False
    quiet: bool = False
    as_json: bool = False
    metrics: Endpoint = Endpoint()


def show_plan(path: Path, flags: StudyFlags, *, points: bool, as_json: bool) -> None:
    """Print a study's plan."""
    _print_plan(plan_of(load_study(path, flags.overrides())), points=points, as_json=as_json)


def _print_plan(plan: Plan | AskedPlan, *, points: bool, as_json: bool, start: str | None = None) -> None:
    """Print a plan and, where it is asked for, what a start would do."""
    if as_json:
        facts = asked_json(plan, points=points) if isinstance(plan, AskedPlan) else plan_json(plan, points=points)
        facts |= {"start": start} if start is not None else {}
        print(json.dumps(facts, indent=2, ensure_ascii=False))  # noqa: T201
        return
    print(asked_text(plan) if isinstance(plan, AskedPlan) else plan_text(plan, points=points))  # noqa: T201
    if start is not None:
        print(f"start        {start}")  # noqa: T201


def show_start(path: Path, flags: StudyFlags, choice: Choice, *, as_json: bool) -> None:
    """Print a study's plan and which run a start would go on with; nothing is started and nothing written."""
    from joulegrid.jobs.carbon.spending import Spending
    from joulegrid.jobs.loop.driver import check_plan
    from joulegrid.jobs.plan.upcoming import upcoming

    study = load_study(path, flags.overrides())
    plan = plan_of(study)
    check_plan(plan)
    Spending.of(study)  # refuses what a start would refuse
    says = upcoming(study, plan, choice)
    _print_plan(plan, points=False, as_json=as_json, start=says)


def run_command(path: Path, flags: StudyFlags, run_flags: RunFlags) -> int:
    """Run a study and print its table (or its JSON); return the exit code."""
    from joulegrid.jobs.loop.driver import Options, check_plan, drive

    study = load_study(path, flags.overrides())
    plan = plan_of(study)
    check_plan(plan)
    if not run_flags.yes:
        confirm(study, plan)
    options = Options(run_flags.address, run_flags.choice, _display(run_flags), metrics=run_flags.metrics)
    result = drive(study, plan, options)
    _print_result(result, as_json=run_flags.as_json)
    if result.counts.failed and not run_flags.quiet:
        sys.stderr.write(f"each failure lies in {result.run}/results; --retry-failed tries the failed tasks again\n")
    if result.state == "budget_spent":
        return BUDGET_SPENT
    unfinished = result.counts.failed or result.counts.pending or result.counts.damaged or result.counts.skipped
    return 1 if unfinished else 0


def report_command(
    runs: list[str], *, write: bool, output: str | None, as_json: bool, baseline: str | None = None
) -> None:
    """Print the table of runs; write page and figures where asked."""
    from joulegrid.jobs.report.run_report import read_runs, report

    if as_json:
        studies = [one.study.model_dump(mode="json") for one in read_runs(runs, baseline)]
        print(json.dumps(studies[0] if len(studies) == 1 else studies, indent=2, ensure_ascii=False))  # noqa: T201
        return
    for place in report(runs, write=write, output=output, baseline=baseline):
        print(f"report: {place}")  # noqa: T201


def confirm(study: StudyConfig, plan: Plan | AskedPlan) -> None:
    """Ask before a large study, but not before a search without a limit; without a terminal there is nobody to ask."""
    n_experiments = len(plan) if isinstance(plan, Plan) else plan.limit or 0
    n_tasks = n_experiments * study.execution.most_cycles
    if n_tasks <= study.execution.confirm_above:
        return
    if isinstance(plan, Plan):
        sys.stderr.write(plan_text(plan) + "\n")
    limit = f"more than execution.confirm_above = {study.execution.confirm_above:,}"
    if not sys.stdin.isatty():
        raise UsageError(f"{n_tasks:,} tasks are {limit}, and there is no terminal to ask; add --yes to run them")
    sys.stderr.write(f"{n_tasks:,} tasks are {limit}. Run them? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("not started; narrow the sweep, or add --yes")


def _display(flags: RunFlags) -> Display:
    from joulegrid.jobs.status.progress import Plain, Quiet, Terminal

    if flags.quiet:
        return Quiet()
    return Terminal() if sys.stderr.isatty() else Plain()


def _print_result(result: StudyResult, *, as_json: bool) -> None:
    if as_json:
        print(result.model_dump_json(indent=2))  # noqa: T201
        return
    from joulegrid.jobs.report.run_report import read_run
    from joulegrid.jobs.report.table import print_reports

    print_reports([read_run(result.run)])
