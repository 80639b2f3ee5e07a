"""A run: one execution of a study, a folder in the store, held by one driver."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice

from joulegrid.actors.outcome import Outcome
from joulegrid.actors.portable import portable
from joulegrid.actors.result import Task
from joulegrid.cluster.secrets import mask
from joulegrid.cluster.storage import Store
from joulegrid.jobs.carbon.spending import Spending
from joulegrid.jobs.plan.order import Order
from joulegrid.jobs.plan.plan import Plan, Point
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.search.asking import is_over
from joulegrid.jobs.search.search import Searcher
from joulegrid.jobs.state.lease import Lease
from joulegrid.jobs.state.ledger import Ledger
from joulegrid.jobs.state.manifest import FAILURES_LISTED, TASKS_LISTED, Manifest
from joulegrid.jobs.state.states import At, States, TaskState
from joulegrid.jobs.status.pace import Pace
from joulegrid.jobs.study.study import StudyConfig
from joulegrid.jsontypes import Json

POINTS_KEPT = 1_024


@dataclass
class Run:
    """A run that this driver holds."""

    study: StudyConfig
    plan: Plan | AskedPlan
    name: str
    store: Store
    """The run's own folder."""
    ledger: Ledger
    lease: Lease
    started_at: str
    unfenced: bool
    continued: bool
    passed: str | None = None
    """A finished run of the same design that was passed over."""
    searcher: Searcher | None = None
    """What proposes the experiments, where that is no grid."""
    state: str = "running"
    spending: Spending | None = None
    """What counts the joules and grams of a run that has a budget."""
    archive: Store | None = None
    """Where judged kernels are archived at the end."""
    budget: dict[str, Json] | None = None
    """What may be spent and what was, where the study has a budget."""
    before_s: float = 0.0
    """Seconds that earlier drivers of this run have spent."""
    left_as: str | None = None
    """In which state the driver before this one left the run; `None` for a new run."""
    _opened_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._manifest = Manifest(self.store)
        self.point = lru_cache(POINTS_KEPT)(self._point)
        """Return a point of the plan; task, display and manifest ask for the same one in a row."""
        self._entered = False
        self._altered: set[At] = set()
        """Tasks whose entry in the manifest is not what it should be."""

    @property
    def order(self) -> Order:
        """The order in which the cycles visit the experiments."""
        return self.plan.order

    @property
    def states(self) -> States:
        """What is known of every task."""
        return self.ledger.states

    def task(self, index: int, cycle: int, attempt: int) -> Task:
        """Return what a worker is told of one task."""
        point = self.point(index)
        return Task(
            index=index,
            cycle=cycle,
            attempt=attempt,
            key=point.key,
            label=point.label,
            axes=point.axes,
            experiment=point.config.model_dump(mode="json"),
            inputs={path: portable(one.location) for path, one in point.inputs.items()},
            fingerprints={path: one.fingerprint for path, one in point.inputs.items()},
            timeout_s=self.study.execution.experiment_timeout_seconds,
            revision=self.plan.workload.revision,
            epoch=self.ledger.epoch,
        )

    def counts(self) -> dict[str, int]:
        """Number of tasks by status, pending ones included, and in all (`n_tasks`)."""
        return self.states.counts(len(self.plan), self.study.execution.n_cycles)

    def is_finished(self) -> bool:
        """Whether every task has its result or its last failure, and nothing will be asked for any more."""
        counts = self.counts()
        ended = counts["done"] + counts["failed"] == counts["n_tasks"]
        if self.awaits_decision:
            return False
        return ended and (self.asked_plan is None or is_over(self.asked_plan, self.states.asked))

    @property
    def awaits_decision(self) -> bool:
        """Whether `n_cycles: auto` has not been decided yet."""
        return self.study.execution.auto_cycles is not None and self.states.n_cycles_decided is None

    def lengthen(self) -> None:
        """Take the number of cycles that the pilot has decided, if it has."""
        n_cycles = self.states.n_cycles_decided
        if self.study.execution.auto_cycles is None or n_cycles is None or not isinstance(self.plan, Plan):
            return
        self.plan.lengthen(n_cycles)
        self.study = self.study.model_copy(update={"execution": self.plan.study.execution})
        self._entered = False  # the manifest lists the new tasks too

    @property
    def asked_plan(self) -> AskedPlan | None:
        """The plan, where it is that of a search."""
        return self.plan if isinstance(self.plan, AskedPlan) else None

    @property
    def most_tasks(self) -> int | None:
        """Number of tasks at most; `None` where a search has no limit."""
        n_cycles = self.study.execution.n_cycles
        if self.asked_plan is None:
            return len(self.plan) * n_cycles
        limit = self.asked_plan.limit  # it may have been lowered since: what was asked for is run all the same
        return None if limit is None else max(limit, len(self.plan)) * n_cycles

    def time_left_s(self) -> float | None:
        """Return the seconds until the last task ends, by the one estimate; of a search, until its limit is reached."""
        counts, states, most = self.counts(), self.states, self.most_tasks
        ended, running = counts["done"] + counts["failed"], counts["running"]
        pending = None if most is None else max(0, most - ended - running - counts["skipped"])
        mean_task_s = states.seconds / states.n_timed if states.n_timed else None
        return Pace(self.spent_s, ended, running, pending, mean_task_s).time_left_s()

    @property
    def spent_s(self) -> float:
        """Seconds that all drivers of the run have spent."""
        return self.before_s + time.monotonic() - self._opened_s

    def record_asked(self, visits: Iterable[At]) -> None:
        """Enter what a searcher asked for into the manifest."""
        self._altered.update(visits)
        self.write_manifest()

    def record_started(self, task: Task) -> None:
        """Note in ledger and manifest that a task was given to a lane."""
        self.ledger.started(task)
        self._changed((task.index, task.cycle))

    def record_ended(self, outcome: Outcome) -> None:
        """Note in ledger and manifest how a task ended."""
        self.ledger.ended(outcome)
        self._changed((outcome.index, outcome.cycle))

    def record_open(self, at: At, attempt: int) -> None:
        """Note that a task is pending again; its next attempt has this number."""
        self.ledger.retried(at, attempt)
        self._changed(at)

    def record_skipped(self, at: At, attempt: int, why: str) -> None:
        """Note that a task is left out."""
        self.ledger.skipped(at, attempt, why)
        self._changed(at)

    def keep_alive(self) -> None:
        """Renew the lease, commit what waits, and write the manifest where one is owed."""
        self.lease.renew(self.store)
        self.ledger.flush(if_due=True)
        if self._manifest.is_owed:
            self.write_manifest()

    def close(self, state: str, *, release: bool = True) -> None:
        """Write the final state and give the run back; without `release` it is held until its summary is written."""
        self.state = state
        with ExitStack() as last:  # each is tried even where another fails, as on a full disk
            if release:
                last.callback(self.lease.release, self.store)
            last.callback(self.write_manifest, force=True)
            last.callback(self.ledger.snapshot)
            running = list(self.states.with_status("running"))
            if running and self.spending is not None:
                self.spending.lose(len(running))
                self.budget = self.spending.told()
            for at in running:
                self._altered.add(at)
                self.ledger.retried(at, self.states.state(at).attempt + 1)

    def write_manifest(self, *, force: bool = False) -> None:
        """Write `manifest.json`, unless it was just written and is dear."""
        if self._manifest.is_due() or force:
            self.lease.renew(self.store)  # a driver that was stopped does not write over its successor's
            if not self._entered:
                self._entered = True
                self._enter_all()
            for at in self._altered:
                self._enter(at)
            self._altered.clear()
            self._manifest.write(self.manifest_head())

    def manifest_head(self) -> dict[str, Json]:
        """Return what the manifest says of the run as a whole."""
        counts = self.counts()
        return {
            "schema_version": "1.0",
            "study_name": self.study.study_name,
            "run": self.name,
            "state": self.state,
            "study_design_hash": self.plan.study_design_hash,
            "n_experiments": len(self.plan),
            "n_cycles": self.study.execution.n_cycles,
            "n_cycles_most": self.study.execution.most_cycles if self.awaits_decision else None,
            "cycle_order": self.order.kind,
            "skipped": mask([asdict(one) for one in self.plan.skipped]),
            "n_duplicates": self.plan.n_duplicates,
            "started_at": self.started_at,
            "written_at": now(),
            "ended_at": None if self.state == "running" else now(),
            "duration_s": round(self.spent_s, 3),
            "epoch": self.ledger.epoch,
            "unfenced": self.unfenced,
            **({"budget": self.budget} if self.budget is not None else {}),
            "notes": list(mask(self.states.notes)),
            "counts": counts,
            "failures_by_class": self.states.failures(),
        }

    def _point(self, index: int) -> Point:
        return self.plan[index]

    def _changed(self, at: At) -> None:
        self._altered.add(at)
        self.write_manifest()

    def _enter_all(self) -> None:
        if len(self.order) <= TASKS_LISTED:
            for at in self.order:
                self._enter(at)
            return
        for at in islice(self.states.with_status("failed"), FAILURES_LISTED):
            self._enter(at)

    def _enter(self, at: At) -> None:
        """Write a task's entry anew, where the manifest lists it."""
        index, cycle = at
        if index >= len(self.plan) or cycle >= self.study.execution.n_cycles:
            return
        state = self.states.state(at)
        if len(self.order) > TASKS_LISTED and not (state.status == "failed" and self._manifest.has_room):
            self._manifest.leave_out(at)
            return
        point = self.point(index)
        entry: dict[str, Json] = {"index": index, "key": point.key, "cycle": cycle, "label": mask(point.label)}
        known = {name: getattr(state, name) for name in TaskState.__dataclass_fields__}
        self._manifest.enter(at, entry | {name: value for name, value in known.items() if value is not None})


def now() -> str:
    """Return the time for people: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
