"""A run: one execution of a study, a folder in the store. Finding it, continuing it, its manifest."""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from joulegrid.actors.attempt import committed
from joulegrid.actors.portable import portable
from joulegrid.actors.result import Outcome, Task
from joulegrid.cluster.secrets import mask
from joulegrid.cluster.session import in_ray_job
from joulegrid.cluster.storage import Store, open_store
from joulegrid.errors import PreFlightError
from joulegrid.jobs.lease import Lease
from joulegrid.jobs.ledger import Ledger, TaskState, read_tasks
from joulegrid.jobs.order import Order
from joulegrid.jobs.plan import Plan, Point
from joulegrid.jobs.resolved import resolved_yaml
from joulegrid.jobs.study import StudyConfig
from joulegrid.jsontypes import Json

DEFAULT_OUTPUT = "results"
MANIFEST_TASKS = 10_000
"""Above this many tasks the manifest lists counts and failures only; the ledger knows every task."""
CHEAP_WRITE_S = 0.05
MANIFEST_SHARE = 0.05
FINAL = ("done", "failed")


@dataclass
class Run:
    """A run that this driver holds."""

    study: StudyConfig
    plan: Plan
    name: str
    store: Store
    """The run's own folder."""
    ledger: Ledger
    lease: Lease
    started_at: str
    unfenced: bool
    continued: bool
    state: str = "running"
    before_s: float = 0.0
    """Seconds that earlier drivers of this run have spent."""
    _opened_s: float = field(default_factory=time.monotonic)
    _write_s: float = 0.0
    _written_s: float = 0.0
    _points: dict[int, Point] = field(default_factory=dict)

    @property
    def order(self) -> Order:
        """The order in which the cycles visit the experiments."""
        return self.plan.order

    def finished(self) -> frozenset[tuple[int, int]]:
        """(experiment, cycle) of every task that needs no further attempt."""
        return frozenset(at for at, state in self.ledger.tasks.items() if state.status in FINAL)

    def attempts(self) -> dict[tuple[int, int], int]:
        """The next attempt's number of every task that was begun but not finished."""
        open_tasks = {at: state for at, state in self.ledger.tasks.items() if state.status not in FINAL}
        return {at: state.attempt + (state.status == "running") for at, state in open_tasks.items()}

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

    def point(self, index: int) -> Point:
        """Return a point of the plan; the cycles ask for the same ones again."""
        if index not in self._points:
            self._points[index] = self.plan[index]
        return self._points[index]

    def counts(self) -> dict[str, int]:
        """Number of tasks by status, pending ones included, and in all (`n_tasks`)."""
        known = Counter(state.status for at, state in self.ledger.tasks.items() if self._is_planned(at))
        n_tasks = len(self.order)
        rest = n_tasks - sum(count for status, count in known.items() if status != "pending")
        counts = {status: known.get(status, 0) for status in ("done", "failed", "running", "skipped")}
        return {"n_tasks": n_tasks, **counts, "pending": rest}

    def record_started(self, task: Task) -> None:
        """Note in ledger and manifest that a task was given to a lane."""
        self.ledger.started(task)
        self.write_manifest()

    def record_ended(self, outcome: Outcome) -> None:
        """Note in ledger and manifest how a task ended."""
        self.ledger.ended(outcome)
        self.write_manifest()

    def keep_alive(self) -> None:
        """Renew the lease and commit what waits."""
        self.lease.renew(self.store)
        self.ledger.flush(if_due=True)

    def close(self, state: str) -> None:
        """Write the final state and give the run back."""
        self.state = state
        for at, task in self.ledger.tasks.items():
            if task.status == "running":
                self.ledger.tasks[at] = TaskState("pending", attempt=task.attempt + 1)
        with ExitStack() as last:  # each is tried even where another fails, as on a full disk
            last.callback(self.lease.release, self.store)
            last.callback(self.write_manifest, force=True)
            self.ledger.flush()

    def write_manifest(self, *, force: bool = False) -> None:
        """Write `manifest.json` through, unless writes are dear: then at most 5 % of the time goes into them."""
        now_s = time.monotonic()
        if not force and self._write_s > CHEAP_WRITE_S and now_s - self._written_s < self._write_s / MANIFEST_SHARE:
            return
        self.store.put("manifest.json", json.dumps(self.manifest(), indent=1, ensure_ascii=False).encode())
        self._written_s = time.monotonic()
        self._write_s = self._written_s - now_s

    def manifest(self) -> dict[str, Json]:
        """Return the run's state for people and for `report`."""
        listed: Iterable[tuple[int, int]] = self.order if len(self.order) <= MANIFEST_TASKS else self._failed()
        return {
            "schema_version": "1.0",
            "study_name": self.study.study_name,
            "run": self.name,
            "state": self.state,
            "study_design_hash": self.plan.study_design_hash,
            "n_experiments": len(self.plan),
            "n_cycles": self.study.execution.n_cycles,
            "cycle_order": self.study.execution.cycle_order,
            "skipped": mask([asdict(one) for one in self.plan.skipped]),
            "n_duplicates": self.plan.n_duplicates,
            "started_at": self.started_at,
            "written_at": _now(),
            "ended_at": None if self.state == "running" else _now(),
            "duration_s": round(self.before_s + time.monotonic() - self._opened_s, 3),
            "epoch": self.ledger.epoch,
            "unfenced": self.unfenced,
            "counts": self.counts(),
            "tasks": [self._entry(index, cycle) for index, cycle in listed],
        }

    def _failed(self) -> list[tuple[int, int]]:
        return [at for at, state in self.ledger.tasks.items() if state.status == "failed"]

    def _is_planned(self, at: tuple[int, int]) -> bool:
        return at[0] < len(self.plan) and at[1] < self.study.execution.n_cycles

    def _entry(self, index: int, cycle: int) -> dict[str, Json]:
        state = self.ledger.tasks.get((index, cycle)) or TaskState("pending")
        point = self.point(index)
        entry: dict[str, Json] = {"index": index, "key": point.key, "cycle": cycle, "label": mask(point.label)}
        return entry | {
            name: value for name in TaskState.__dataclass_fields__ if (value := getattr(state, name)) is not None
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """How a start relates to earlier runs."""

    fresh: bool = False
    retry_failed: bool = False


def open_output(study: StudyConfig) -> Store:
    """Open the store of a study's runs; a relative folder is refused where machines would read it differently."""
    output = study.output or DEFAULT_OUTPUT
    if in_ray_job() and not output.startswith("s3://") and not Path(output).is_absolute():
        raise PreFlightError(
            f"output: {output!r} is relative, but in a Ray job the working folder is a copy that vanishes; "
            "give --output s3://bucket/prefix or an absolute folder that every node sees"
        )
    return open_store(output)


def open_run(study: StudyConfig, plan: Plan, root: Store, choice: Choice, *, conditional: bool) -> Run:
    """Continue the study's newest unfinished run of the same design, else begin one."""
    frozen = _frozen(study, plan)
    name = None if choice.fresh else _to_continue(study, root, frozen, choice)
    continued = name is not None
    name = name or _begin(study, root, frozen)
    store = root.child(name)
    lease = Lease.take(store)
    ledger = Ledger.open(store)
    store.put("resolved.yaml", mask(resolved_yaml(study, plan.workload.input_fields)).encode())
    begun = json.loads(store.get("plan.json")).get("created_at") or _now()
    run = Run(study, plan, name, store, ledger, lease, begun, not conditional, continued)
    run.before_s = _seconds_spent(store) if continued else 0.0
    _recover(run)
    if choice.retry_failed:
        for at in [at for at, state in ledger.tasks.items() if state.status == "failed"]:
            ledger.forget(*at)
    run.write_manifest(force=True)
    return run


def _frozen(study: StudyConfig, plan: Plan) -> dict[str, Any]:
    """What identifies the run's design: its hash, and the fingerprints of everything that it reads."""
    return {
        "study_name": study.study_name,
        "study_design_hash": plan.study_design_hash,
        "inputs_hash": plan.inputs_hash,
        "n_experiments": len(plan),
    }


def _to_continue(study: StudyConfig, root: Store, frozen: dict[str, Any], choice: Choice) -> str | None:
    names = sorted(root.folders(f"{study.study_name}_"), reverse=True)
    for name in names:
        store = root.child(name)
        try:
            known = dict(json.loads(store.get("plan.json")))
        except (FileNotFoundError, ValueError, TypeError):
            continue
        if any(known.get(field) != value for field, value in frozen.items()):
            continue
        tasks = read_tasks(store)
        n_tasks = frozen["n_experiments"] * study.execution.n_cycles
        finals = Counter(state.status for (_, cycle), state in tasks.items() if cycle < study.execution.n_cycles)
        unfinished = finals["done"] + finals["failed"] < n_tasks
        return name if unfinished or (choice.retry_failed and finals["failed"]) else None
    return None


def _begin(study: StudyConfig, root: Store, frozen: dict[str, Any]) -> str:
    """Make a run's folder; the nonce keeps two that start in the same second apart."""
    name = f"{study.study_name}_{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    store = root.child(name)
    store.put("study.yaml", mask(study.source or "").encode())
    grammar = study.model_dump(mode="json", include={"experiment", "sweep", "zip", "experiments", "deduplicate"})
    content = {"schema_version": "1.0", "created_at": _now(), **frozen, "grammar": mask(grammar)}
    store.create("plan.json", json.dumps(content, indent=1, ensure_ascii=False).encode())
    return name


def _seconds_spent(store: Store) -> float:
    try:
        return float(json.loads(store.get("manifest.json"))["duration_s"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return 0.0


def _recover(run: Run) -> None:
    """Take over what was committed but not yet logged when the last driver died: the markers decide."""
    logged = {state.task_id for state in run.ledger.tasks.values() if state.status == "done"}
    unknown = {path.rpartition("/")[2]: path for path in run.store.list("commit/")}
    unknown = {task_id: path for task_id, path in unknown.items() if task_id not in logged}
    for index, cycle in run.order if unknown else ():
        path = unknown.pop(f"{run.point(index).key}-c{cycle}", None)
        if path is not None:
            run.ledger.ended(committed(run.store, run.task(index, cycle, 0)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
