"""The loop: from a study to a run that is finished, or stopped in good order.

Policy is the schedule's, mechanism the pool's.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING

from joulegrid.actors.gate import Gate
from joulegrid.actors.placement import largest_need, place_lanes
from joulegrid.actors.record import RunFacts
from joulegrid.actors.result import Task
from joulegrid.cluster.secrets import mask
from joulegrid.cluster.session import ray_session
from joulegrid.cluster.storage import probe
from joulegrid.errors import StudyInterrupted, UsageError
from joulegrid.jobs.plan import Plan
from joulegrid.jobs.progress import Display, Quiet
from joulegrid.jobs.report.assembly import assemble
from joulegrid.jobs.report.quantity import counted
from joulegrid.jobs.run import Choice, Run, open_output, open_run
from joulegrid.jobs.schedule import Schedule, Visit
from joulegrid.jobs.study import StudyConfig
from joulegrid.jobs.study_result import StudyResult

if TYPE_CHECKING:
    from joulegrid.actors.pool import Pool
    from joulegrid.actors.worker import Setup


@dataclass(frozen=True, slots=True)
class Options:
    """How this start of a study is to go; nothing of it belongs to the study."""

    address: str | None = None
    """Ray cluster to join; `None` follows `RAY_ADDRESS` or the surrounding Ray job, else starts one here."""
    choice: Choice = Choice()
    display: Display = field(default_factory=Quiet)
    report: bool = True
    """Write report and figures into the run's folder at the end."""


def drive(study: StudyConfig, plan: Plan, options: Options) -> StudyResult:
    """Run what is missing of a study and return what the store then holds.

    Raises:
        PreFlightError: when it cannot run here; no task was started.
        StudyInterrupted: on Ctrl-C or SIGTERM; what was finished is kept.
    """
    root = open_output(study)
    check = probe(root)
    run = open_run(study, plan, root, options.choice, conditional=check.conditional)
    _announce(run, options.display)
    state = "interrupted"
    try:
        state = _work(run, options)
    except (KeyboardInterrupt, SystemExit):  # while `ray.init` runs, its own handler turns SIGTERM into an exit
        run.close("interrupted")
        left = run.counts()["pending"]
        raise StudyInterrupted(
            f"interrupted: {counted(left, 'task')} left in {run.store.url}; start the same study again to go on"
        ) from None
    except BaseException:
        run.close("stopped")
        raise
    run.close(state)
    return _finish(run, options)


def _announce(run: Run, display: Display) -> None:
    counts = run.counts()
    verb = f"going on with {counts['done']} done" if run.continued else "new run"
    display.say(
        f"{run.study.study_name} {run.plan.study_design_hash}: {counts['n_tasks']} tasks, {verb}: {run.store.url}"
    )
    for skipped in run.plan.skipped:
        display.say(f"skipped {skipped.count} × {skipped.reason} (e.g. {skipped.example})")
    if run.unfenced:
        display.say("this store ignores conditional writes: the run is unfenced; never let two drivers work on it")


def _work(run: Run, options: Options) -> str:
    """Do all that is missing; return the state in which the run is left."""
    schedule = Schedule(iter(run.order), run.study.execution, run.finished(), run.attempts())
    if not run.counts()["pending"] and not schedule.attempts:
        return "done"
    options.display.say("joining Ray …" if options.address else "starting Ray and the workers …")
    # The handler is set twice, because `ray.init` sets one of its own.
    with _terminated_like_interrupted(), ray_session(options.address), _terminated_like_interrupted():
        from joulegrid.actors.pool import Pool, cluster_nodes

        places = place_lanes(cluster_nodes(), largest_need(run.plan.resources))
        with Pool(places[: len(run.order)], _setup(run), run.study.power) as pool:
            options.display.say(
                f"{counted(len(pool.lanes), 'lane')}: {', '.join(lane.place.lane for lane in pool.lanes)}"
            )
            try:
                _loop(run, schedule, pool, options.display)
            except KeyboardInterrupt:
                pool.cancel()
                raise
    return "stopped" if schedule.stopped else "done"


def _loop(run: Run, schedule: Schedule, pool: Pool, display: Display) -> None:
    def task_for(visit: Visit) -> Task:
        task = run.task(visit.index, visit.cycle, visit.attempt)
        run.record_started(task)
        return task

    def tick() -> None:
        run.keep_alive()
        pool.skip_rest = display.tick(pool.lanes) or pool.skip_rest

    with display.running(run):
        for outcome in pool.run(schedule, task_for, tick):
            run.record_ended(outcome)
            if schedule.record(outcome, time.monotonic()):
                display.ended(outcome, run.point(outcome.index).label)


def _setup(run: Run) -> Setup:
    from joulegrid.actors.worker import Setup

    study, workload = run.study, run.plan.workload
    gate = study.execution.temperature_gate
    facts = RunFacts(
        study_name=study.study_name,
        run=run.name,
        preload=workload.preload(run.point(0).config),
        isolation=study.execution.isolation,
        study_yaml=mask(study.source) if study.source else None,
        carbon_place=study.carbon_place,
        temperature_gate=Gate(gate.max_celsius, gate.max_wait_seconds) if gate else None,
        watts_per_core=study.power.watts_per_core,
    )
    packages = tuple(dict.fromkeys(name.split(".")[0] for name in facts.preload))
    return Setup(facts, run.store, str(study.folder), packages, ("plan.json", run.store.get("plan.json")))


def _finish(run: Run, options: Options) -> StudyResult:
    """Write the summary, the study's result and the report."""
    from joulegrid.jobs.report.run_report import write_report
    from joulegrid.jobs.report.summary import write_summary_parquet

    result = assemble(run.store)
    names = {"study_name": result.study_name, "study_design_hash": result.study_design_hash}
    run.store.put("summary.parquet", write_summary_parquet(result.summary, **names))  # type: ignore[arg-type]
    run.store.put("study_result.json", result.model_dump_json(indent=1).encode())
    if options.report:
        options.display.say(f"report: {write_report(run.store)}")
    return result


def check_plan(plan: Plan) -> None:
    """Refuse a plan that is larger than the study allows, or that a lane's zygote cannot serve."""
    if "script.preload" in plan.varied:
        raise UsageError(
            "script.preload: one zygote serves all experiments; give it once, in no sweep and no experiment"
        )
    limit = plan.study.execution.max_experiments
    if limit is not None and len(plan) > limit:
        raise UsageError(
            f"the plan has {len(plan):,} experiments, execution.max_experiments allows {limit:,}; "
            "narrow the sweep or raise the limit"
        )


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM (`ray job stop`, a batch system) ends a run in the same order as Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # Python takes signals in the main thread alone, and whoever owns that decides
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
