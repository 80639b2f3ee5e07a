"""Continuing a run, or beginning one; what was committed and not yet logged is taken over."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from joulegrid.actors.commit import committed, task_of
from joulegrid.actors.outcome import Outcome
from joulegrid.actors.result import Task
from joulegrid.cluster.secrets import mask
from joulegrid.cluster.session import refuse_vanishing
from joulegrid.cluster.storage import Store, open_store
from joulegrid.errors import RunHeldError, UsageError
from joulegrid.jobs.loop.continuing import Choice, Found, to_continue
from joulegrid.jobs.loop.run import Run, now
from joulegrid.jobs.plan.extension import extended
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.resolved import resolved_yaml
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.search.asking import fill
from joulegrid.jobs.state.lease import Lease, lease_of, read_lease, refuse_alive, stale_s
from joulegrid.jobs.state.ledger import SNAPSHOT_SEGMENTS, Ledger
from joulegrid.jobs.state.segments import Replay, first_event, replay, segment_path
from joulegrid.jobs.state.states import At
from joulegrid.jobs.study.design import (
    design_of,
    is_same,
    read_designs,
    write_design,
)
from joulegrid.jobs.study.study import StudyConfig
from joulegrid.jsontypes import Json

DEFAULT_OUTPUT = "results"
LOOKS_AT_ONCE = 16
"""Results looked at side by side."""
VERIFIED_UNASKED = 500
"""So many results are hashed again before a run goes on (a second on disk); `--retry-failed` hashes all."""


def open_output(study: StudyConfig) -> Store:
    """Open the store of a study's runs; a relative folder is refused where machines would read it differently."""
    output = study.output or DEFAULT_OUTPUT
    refuse_vanishing("output", output)
    return open_store(output)


def open_run(study: StudyConfig, plan: Plan | AskedPlan, root: Store, choice: Choice, *, conditional: bool) -> Run:
    """Continue the study's newest unfinished run of the same design, else begin one.

    Raises:
        UsageError: when its newest unfinished run has another design, and neither `extend` nor `fresh` was chosen.
        RunHeldError: when somebody drives the run.
    """
    stale_s()  # a malformed setting is refused before anything is written
    design = design_of(study, plan)
    if choice.fresh and (choice.extend or choice.retry_failed):
        raise UsageError(
            "--fresh begins a new run; --extend and --retry-failed go on with an old one: give one of them"
        )
    if choice.extend and isinstance(plan, AskedPlan):
        raise UsageError("--extend adds points to a grid; a search goes on when its budget is raised")
    found = Found() if choice.fresh else to_continue(study, root, design, choice, plan)
    continued = found.name is not None
    name = found.name or _begin(study, root, design)
    store = root.child(name)
    designs = read_designs(store)
    is_new = not is_same(designs[-1], design)
    if isinstance(plan, Plan) and (len(designs) > 1 or is_new):
        plan = extended(plan, designs)  # it may refuse: nothing is held or written yet
    ledger, lease = _take(store, found.replay)
    try:
        if is_new and not write_design(store, design, len(designs) + 1):
            raise RunHeldError(f"{store.url} was extended by somebody else in this moment; start again")
        run = Run(study, plan, name, store, ledger, lease, "", not conditional, continued, passed=found.finished)
        run = _opened(study, plan, run, choice)
        if found.replay is not None and found.replay.n_replayed > SNAPSHOT_SEGMENTS:
            ledger.snapshot()  # not before all is taken over: what is damaged must be found again until then
        return run
    except BaseException:
        lease.release(store)
        raise


def _opened(study: StudyConfig, plan: Plan | AskedPlan, run: Run, choice: Choice) -> Run:
    """Bring a run that is held up to date with its store."""
    store, ledger = run.store, run.ledger
    if isinstance(plan, AskedPlan):
        fill(plan, ledger.states.asked)
    store.put("resolved.yaml", mask(resolved_yaml(as_asked(study, plan), plan.workload.input_fields)).encode())
    run.lengthen()
    run.started_at = read_designs(store)[0].get("created_at") or now()
    run.before_s, run.left_as, run.budget = _left(store) if run.continued else (0.0, None, None)
    _recover(run, verify=choice.retry_failed)
    if choice.retry_failed:
        for at in list(ledger.states.with_status("failed")):
            ledger.retried(at, ledger.states.state(at).attempt + 1)
    run.write_manifest(force=True)
    return run


def _take(store: Store, found: Replay | None) -> tuple[Ledger, Lease]:
    """Become the one driver of a run. Raises `RunHeldError` where there is another.

    The log is read first: an epoch that somebody takes after that refuses ours, however slow the steps between are.
    """
    found = found or replay(store)
    held = _refuse_driven(store, found)
    while not found.is_current(store):  # the last driver has gone on until just now
        found = replay(store)
        held = _refuse_driven(store, found)
    for lost in range(found.last_epoch + 1, (held.epoch if held is not None else 0) + 1):
        found.damaged.append(segment_path(lost, 0))  # who wrote the lease had begun a log
        found.last_epoch = lost
    lease = Lease.of_this_process(found.last_epoch + 1)
    ledger = Ledger.begin(store, found, lease)
    lease.write(store)
    return ledger, lease


def _refuse_driven(store: Store, found: Replay) -> Lease | None:
    """Return the newest lease of a run. Raises `RunHeldError` where its owner lives."""
    held = read_lease(store)
    if held is None or held.epoch < found.last_epoch:  # who took the last epoch may not have written a lease yet
        held = lease_of(first_event(store, found.last_epoch).get("lease")) or held
    refuse_alive(store, held)
    return held


def as_asked(study: StudyConfig, plan: Plan | AskedPlan) -> StudyConfig:
    """Return a study whose Python proposes its experiments as the list of those that it has proposed."""
    if study.searcher is None or not isinstance(plan, AskedPlan):
        return study
    return study.model_copy(update={"experiments": plan.patches() or None})


def _begin(study: StudyConfig, root: Store, design: dict[str, Any]) -> str:
    """Make a run's folder; the nonce keeps two that start in the same second apart."""
    name = f"{study.study_name}_{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    store = root.child(name)
    store.put(study.source_name, mask(study.source or "").encode())
    write_design(store, design)
    return name


def _left(store: Store) -> tuple[float, str | None, dict[str, Json] | None]:
    """Seconds that a run has taken so far, the state in which it was left, and what it told of its budget."""
    try:
        told = json.loads(store.get("manifest.json"))
        return float(told["duration_s"]), str(told["state"]), told.get("budget")
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return 0.0, None, None


def _recover(run: Run, *, verify: bool) -> None:
    """Take over what was committed but not yet logged when the last driver died: the markers decide.

    Where all of the log could be trusted only the tasks that had been reserved can have a marker. What is damaged is
    to be run again; it is looked for where that is quick, or asked for.
    """
    for path in run.ledger.damaged:
        run.ledger.note(f"{path} is damaged; what it told was taken from the commit markers, failures are tried again")
    blind = run.ledger.damaged or (run.continued and run.ledger.epoch == 1)  # the whole log may be gone
    for task, found in _looked_up(run, _marked(run) if blind else sorted(run.states.open)):
        if found is not None and found.status == "done":
            run.record_ended(found)
        elif found is not None:
            run.ledger.note(f"{task.id}: {found.message}; it is run again")
    if verify or 0 < run.counts()["done"] <= VERIFIED_UNASKED:
        put_back_damaged(run)


def put_back_damaged(run: Run) -> None:
    """Hash all results that the ledger counts, and make every task pending again whose result is not sound."""
    for task, found in _looked_up(run, list(run.states.with_status("done"))):
        if found is None or found.status != "done":
            reason = "its marker is gone" if found is None else found.message
            run.ledger.note(f"{task.id}: {reason}; it is run again")
            known = run.states.state((task.index, task.cycle)).attempt
            run.record_open((task.index, task.cycle), max(known, found.attempt if found else 0) + 1)


def _looked_up(run: Run, ats: Sequence[At]) -> Iterator[tuple[Task, Outcome | None]]:
    """Read what is committed of planned tasks, some side by side."""
    n_cycles = run.study.execution.n_cycles
    tasks = [run.task(*at, run.states.next_attempt(at)) for at in ats if at[0] < len(run.plan) and at[1] < n_cycles]
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as looks:
        yield from zip(tasks, looks.map(lambda task: committed(run.store, task), tasks), strict=True)


def _marked(run: Run) -> list[At]:
    """Every planned task that is not known to have ended, but has a marker."""
    marked = {task_of(path) for path in run.store.list("commit/")}
    missing = (at for at in run.order if not run.states.is_final(at)) if marked else iter(())
    return [at for at in missing if f"{run.plan[at[0]].key}-c{at[1]}" in marked]
