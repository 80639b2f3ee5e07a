"""From a study to a run that is finished, or stopped in good order. The loop itself is `turn.py`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING

from joulegrid.actors.gate import Gate
from joulegrid.actors.idle import IdleTerms
from joulegrid.actors.placement import Pair, largest_need, place_lanes, split_needs
from joulegrid.actors.record import RunFacts
from joulegrid.cluster.carbon.config import unknown_grams
from joulegrid.cluster.patient import PatientStore, patience_s
from joulegrid.cluster.secrets import mask
from joulegrid.cluster.session import begins_here, ray_session
from joulegrid.cluster.storage import Store, probe
from joulegrid.errors import JoulegridError, PreFlightError, RunHeldError, StudyDrained, StudyInterrupted
from joulegrid.jobs.archive.of_study import archive_of
from joulegrid.jobs.carbon.spending import Spending
from joulegrid.jobs.loop.closing import finish
from joulegrid.jobs.loop.continuing import Choice
from joulegrid.jobs.loop.drain import Drain
from joulegrid.jobs.loop.environments import admit, refuse_drift_here
from joulegrid.jobs.loop.opening import open_output, open_run
from joulegrid.jobs.loop.run import Run
from joulegrid.jobs.loop.streams import balance_note
from joulegrid.jobs.loop.turn import Turn
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.upcoming import passed_words
from joulegrid.jobs.report.quantity import counted
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.search.asked_visits import AskedVisits
from joulegrid.jobs.search.telling import decide_cycles
from joulegrid.jobs.state.lease import kept
from joulegrid.jobs.status.metrics import Endpoint, Metrics, metrics_endpoint
from joulegrid.jobs.status.progress import Display, Quiet
from joulegrid.jobs.study.study import StudyConfig
from joulegrid.jobs.study_result import StudyResult

if TYPE_CHECKING:
    from joulegrid.actors.pool import Pool
    from joulegrid.actors.worker import Setup


_LEFT_IN_ORDER = ("budget_spent", "drained", "interrupted")
"""States that stay true of a run whose next start was refused before anything was begun."""


@dataclass(frozen=True, slots=True)
class Options:
    """How this start of a study is to go; nothing of it belongs to the study."""

    address: str | None = None
    """Ray cluster to join; `None` follows `RAY_ADDRESS` or the surrounding Ray job, else starts one here."""
    choice: Choice = Choice()
    display: Display = field(default_factory=Quiet)
    report: bool = True
    """Write report and figures into the run's folder at the end."""
    metrics: Endpoint = Endpoint()
    """Where metrics for Prometheus are served while the driver lives."""
    store: Store | None = None
    """Where the runs lie, already open; `None` opens the study's output."""


def drive(study: StudyConfig, plan: Plan | AskedPlan, options: Options) -> StudyResult:
    """Run what is missing of a study and return what the store then holds.

    Raises:
        PreFlightError: when it cannot run here; no task was started.
        StudyDrained: when the time that it was given is over and something is left to do.
        StudyInterrupted: on Ctrl-C or SIGTERM; what was finished is kept.
    """
    with metrics_endpoint(options.metrics) as metrics:
        if options.metrics.port:
            options.display.say(f"metrics: {options.metrics.url}")
        return _drive(study, plan, options, metrics)


def _drive(study: StudyConfig, plan: Plan | AskedPlan, options: Options, metrics: Metrics) -> StudyResult:
    drain, patience = Drain.of(study.execution.wall_clock_timeout_hours), patience_s()
    plain = options.store or open_output(study)
    spending = Spending.of(study)  # what cannot be kept is refused before a run begins
    check = probe(plain)  # a store that cannot be used at all is told of at once
    root = PatientStore(plain, patience)
    archive = archive_of(plan.workload.name, study.execution.archive, root)
    searcher = plan.source.make() if isinstance(plan, AskedPlan) else None  # what it lacks is said before a run begins
    run = open_run(study, plan, root, options.choice, conditional=check.conditional)
    run.searcher, run.spending, run.archive = searcher, spending, archive
    with kept(run.lease, plain.child(run.name)):
        return _hold(run, options, drain, metrics)


def _hold(run: Run, options: Options, drain: Drain, metrics: Metrics) -> StudyResult:
    """Do what is missing of a run that this driver has taken, and give it back."""
    _announce(run, options.display)
    state = "interrupted"
    try:
        state = _work(run, options, drain, metrics)
    except (KeyboardInterrupt, SystemExit):  # while `ray.init` runs, its own handler turns SIGTERM into an exit
        _close_undisturbed(run, "interrupted")
        raise StudyInterrupted(f"interrupted: {_left(run)}") from None
    except RunHeldError:
        raise  # the run is another's: nothing more is written
    except BaseException as error:
        _close_after(run, error)
        raise
    run.close(state, release=state == "drained")
    if state == "drained":
        raise StudyDrained(f"drained: {_left(run)}")
    result = finish(run, options.display, report=options.report)
    run.lease.release(run.store)  # only now: a run whose driver died in the summary is gone on with, not begun anew
    return result


def _left(run: Run) -> str:
    left = run.counts()
    more = "" if run.asked_plan is None else " of those asked for"
    return (
        f"{counted(left['pending'] + left['skipped'], 'task')}{more} left in {run.store.url}; "
        "start the same study again to go on"
    )


def _close_undisturbed(run: Run, state: str) -> None:
    """Write the final state; an impatient second Ctrl-C does not tear it."""
    if threading.current_thread() is not threading.main_thread():
        run.close(state)
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run.close(state)
    finally:
        signal.signal(signal.SIGINT, before)


def _close_after(run: Run, error: BaseException) -> None:
    """Write the final state after an error; what fails in that is told beside the error and does not hide it."""
    unbegun = isinstance(error, PreFlightError) and run.left_as in _LEFT_IN_ORDER
    try:
        run.close(run.left_as if unbegun and run.left_as else "stopped")
    except (JoulegridError, OSError, ValueError) as late:
        error.add_note(f"the run's state could not be written whole: {late}")


def _announce(run: Run, display: Display) -> None:
    counts = run.counts()
    verb = f"going on with {counts['done']} done" if run.continued else "new run"
    most = run.most_tasks
    tasks = (
        f"{counts['n_tasks']} tasks" if run.asked_plan is None else f"a search, {most or 'any number of'} tasks at most"
    )
    display.say(f"{run.study.study_name} {run.plan.study_design_hash}: {tasks}, {verb}: {run.store.url}")
    if run.passed is not None:
        display.say(passed_words(run.passed))
    for skipped in run.plan.skipped:
        display.say(f"skipped {skipped.count} × {skipped.reason} (e.g. {skipped.example})")
    warning = unknown_grams(run.study.execution.carbon)
    if warning is not None:
        display.say(warning)
    if run.unfenced:
        display.say("this store ignores conditional writes: the run is unfenced; never let two drivers work on it")


def _work(run: Run, options: Options, drain: Drain, metrics: Metrics) -> str:
    """Do all that is missing; return the state in which the run is left."""
    if run.is_finished():
        return "done"
    asked = AskedVisits.of(run, run.searcher) if run.searcher is not None else None
    if asked is not None and run.is_finished():
        return "done"
    if _is_over_budget(run, options.display):
        return "budget_spent"
    if begins_here(options.address):
        refuse_drift_here(run, allow_drift=options.choice.allow_env_drift)
    options.display.say("joining Ray …" if options.address else "starting Ray and the workers …")
    with (
        _terminated_like_interrupted(),
        ray_session(options.address),
        _terminated_like_interrupted(),  # once more, because `ray.init` sets a handler of its own
        _pool(run, options.display) as (pool, misfits),
    ):
        _announce_lanes(run, pool, options.display)
        environments = [lane.facts["environment"] for lane in pool.lanes if lane.is_up]
        admit(run, environments, allow_drift=options.choice.allow_env_drift)
        turn = Turn(run, pool, drain, options.display, asked)
        turn.metrics, turn.misfits = metrics, misfits
        if run.spending is not None:
            turn.keep(run.spending)
        try:
            turn.go()
            if turn.pilot_is_over and decide_cycles(run, options.display):
                turn = Turn(run, pool, drain, options.display, asked)
                turn.metrics, turn.misfits = metrics, misfits
                turn.go()
        except KeyboardInterrupt:
            pool.cancel()
            raise
    return turn.state()


def _is_over_budget(run: Run, display: Display) -> bool:
    """Count what earlier starts have spent, from the store; say whether that is the whole budget."""
    if run.spending is None:
        return False
    if run.continued:
        run.spending.recall(run.store)
    run.budget, over = run.spending.told(), run.spending.budget.over
    if over is not None:
        display.say(f"{over}; nothing is begun")
        if f"stopped: {over}" not in run.states.notes:
            run.ledger.note(f"stopped: {over}")
    return over is not None


@contextmanager
def _pool(run: Run, display: Display) -> Iterator[tuple[Pool, dict[Pair, str]]]:
    """Hold the run's lanes; beside them stands which needs none of them can serve, and why."""
    from joulegrid.actors.pool import Pool, Terms, cluster_nodes

    nodes = cluster_nodes()
    served, misfits = split_needs(nodes, run.plan.resources)
    need = largest_need(served or run.plan.resources)
    places = place_lanes(nodes, need)
    terms = Terms(run.study.execution.exclusive == "node", lambda joined: place_lanes(joined, need), display.say)
    with Pool(places[: run.most_tasks], _setup(run), run.study.power, terms) as pool:
        yield pool, misfits


def _announce_lanes(run: Run, pool: Pool, display: Display) -> None:
    display.say(f"{counted(len(pool.lanes), 'lane')}: {', '.join(lane.place.lane for lane in pool.lanes)}")
    note = balance_note(run.order, len(pool.lanes))
    if note is not None:
        display.say(note)


def _setup(run: Run) -> Setup:
    from joulegrid.actors.worker import Setup

    study, workload = run.study, run.plan.workload
    gate, idle = study.execution.temperature_gate, study.execution.baseline
    facts = RunFacts(
        study_name=study.study_name,
        run=run.name,
        preload=workload.preload(run.point(0).config),
        isolation=study.execution.isolation,
        study_yaml=mask(study.source) if study.source else None,
        carbon_place=study.execution.carbon.zone,
        baseline=IdleTerms(idle.bare_s, idle.loaded_s, idle.max_age_h) if idle else None,
        temperature_gate=Gate(gate.max_celsius, gate.max_wait_seconds) if gate else None,
        watts_per_core=study.power.watts_per_core,
    )
    packages = tuple(dict.fromkeys(name.split(".")[0] for name in facts.preload))
    return Setup(facts, run.store, str(study.folder), packages, ("plan.json", run.store.get("plan.json")))


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
