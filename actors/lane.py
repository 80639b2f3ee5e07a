"""One lane at work: run a task, ask what it cost, keep its result. No Ray; the actor around it is `worker.py`."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

from joulegrid.actors.attempt import attempt_folder, outcome_of, series_parquet
from joulegrid.actors.commit import commit
from joulegrid.actors.ending import Ending
from joulegrid.actors.portable import local
from joulegrid.actors.record import Attempt, LaneFacts, RunFacts
from joulegrid.actors.result import ExperimentResult, Outcome, Task
from joulegrid.actors.supervisor import Launch, Supervisor, ZygoteError
from joulegrid.cases.contract import LaneView
from joulegrid.cluster.power.energy import Energy
from joulegrid.cluster.power.recorder import Target
from joulegrid.cluster.power.series import Sample
from joulegrid.cluster.storage import Store
from joulegrid.cluster.visible import memory_used
from joulegrid.errors import PreFlightError
from joulegrid.jsontypes import Json

AROUND_NS = 1_000_000_000
"""How much of the power series is kept before the first and after the last window."""
RELEASE_LIMIT_S = 5.0
"""How long a GPU may take to give a dead process's memory back."""
RELEASE_SLACK_BYTES = 16 * 2**20
"""The driver's own bookkeeping moves by a few MB."""


class Meter(Protocol):
    """Answers what a window cost: a node's sampler, or a recorder in this process."""

    def watch(self, lane: str, pid: int) -> None:
        """Begin to follow a task's process."""
        ...

    def unwatch(self, lane: str) -> None:
        """Stop following it."""
        ...

    def energy(self, t0_ns: int, t1_ns: int, target: Target, cpu_s: float) -> tuple[Energy, list[Energy]]:
        """Joules of the target's main devices, and those of others beside."""
        ...

    def series(self, t0_ns: int, t1_ns: int, target: Target, lane: str) -> list[Sample]:
        """Power over time."""
        ...


@dataclass
class Lane:
    """Runs tasks one after the other, each in a fresh process, and stores what came out."""

    facts: LaneFacts
    run_facts: RunFacts
    store: Store
    meter: Meter
    _cycle: int | None = None
    _supervisor: Supervisor = field(init=False)
    _locks: list[IO[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._supervisor = Supervisor(self.run_facts.isolation, self.run_facts.preload, self.facts.cpus)

    def prepare(self) -> None:
        """Take the lane's GPUs for this run and bring the zygote up. Raises `PreFlightError`."""
        self._locks = [lock_gpu(uuid) for uuid in self.facts.gpu_uuids]
        try:
            self._supervisor.start()
        except ZygoteError as error:
            raise PreFlightError(f"{self.facts.name}: no process for tasks can be started: {error}") from error

    def close(self) -> None:
        """End every process of the lane and give its GPUs back."""
        self._supervisor.close()
        for lock in self._locks:
            lock.close()

    def cancel(self) -> None:
        """Kill the running task; its outcome is `cancelled`."""
        self._supervisor.cancel()

    def progress(self) -> dict[str, Json] | None:
        """Return the running task's newest progress."""
        return self._supervisor.last_progress()

    def run(self, task: Task) -> Outcome:
        """Run one task; whatever happens to it is an outcome. Raises `StoreError` when the result cannot be kept."""
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        view = self.facts.view(task.experiment)
        used_before = memory_used(view.gpu_uuids)
        try:
            ending = self._process(task, view)
        except ZygoteError as error:
            self._supervisor.stop()
            return Outcome.lost(task, self.facts.name, str(error))
        left = self._memory_left(view, used_before)
        names = tuple(name for name, _ in self._artifacts())
        attempt = Attempt(task, self.run_facts, self.facts, view, started_at, ending, left, names)
        outcome = self._keep(attempt)
        self._supervisor.forget_task()
        return outcome

    def _process(self, task: Task, view: LaneView) -> Ending:
        """Run the task's process; between two cycles the zygote is renewed, so that repetitions share nothing."""
        if self._cycle not in (None, task.cycle) and self.run_facts.isolation == "zygote":
            self._supervisor.renew()
        self._cycle = task.cycle
        inputs = {path: local(location) for path, location in task.inputs.items()}
        launch = Launch(task.experiment, inputs, task.fingerprints, view, _seed(task), task.timeout_s)
        try:
            return self._supervisor.run(launch, on_start=lambda pid: self.meter.watch(self.facts.name, pid))
        finally:
            self.meter.unwatch(self.facts.name)

    def _memory_left(self, view: LaneView, used_before: int | None) -> int | None:
        """Wait until the GPUs have their memory back; return what they still miss."""
        if used_before is None:
            return None
        limit_s = time.monotonic() + RELEASE_LIMIT_S
        while (left := (memory_used(view.gpu_uuids) or 0) - used_before) > RELEASE_SLACK_BYTES:
            if time.monotonic() > limit_s:
                return left
            time.sleep(0.05)
        return max(0, left)

    def _keep(self, attempt: Attempt) -> Outcome:
        """Write the attempt's files, then, for a done task, the marker that commits it."""
        target = Target(attempt.view.gpu_uuids, attempt.view.cpus, None)
        result = attempt.result(lambda t0_ns, t1_ns, cpu_s: self.meter.energy(t0_ns, t1_ns, target, cpu_s))
        folder = attempt_folder(attempt.task)
        if result.timeseries is not None:
            self.store.put(f"{folder}/{result.timeseries}", self._series(result, target))
        for name, path in self._artifacts():
            self.store.put_file(f"{folder}/{name}", path)
        data = result.model_dump_json(indent=1).encode()
        self.store.put(f"{folder}/result.json", data)
        outcome = outcome_of(attempt.task, result, folder, data)
        return commit(self.store, attempt.task, outcome) if result.status == "done" else outcome

    def _series(self, result: ExperimentResult, target: Target) -> bytes:
        edges = [edge for window in result.windows or [] for edge in (window.t0_ns, window.t1_ns)]
        return series_parquet(
            self.meter.series(min(edges) - AROUND_NS, max(edges) + AROUND_NS, target, self.facts.name)
        )

    def _artifacts(self) -> list[tuple[str, Path]]:
        """Files that the task left to be kept, by their name beside the result."""
        folder = self._supervisor.task_folder()
        if folder is None:
            return []
        files = (path for path in sorted((folder / "artifacts").rglob("*")) if path.is_file() and not path.is_symlink())
        return [(os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace"), path) for path in files]


def lock_gpu(uuid: str) -> IO[str]:
    """Take a GPU for this process on this node; `PreFlightError` when another run holds it."""
    path = Path(tempfile.gettempdir()) / f"joulegrid-{uuid}.lock"
    try:
        file = os.fdopen(_open_lock(path))
    except OSError as error:
        message = f"GPU {uuid}: its lock {path} cannot be opened ({error.strerror}); remove that file"
        raise PreFlightError(message) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        message = f"GPU {uuid} is held by another run on this node; wait for it, or leave that GPU out"
        raise PreFlightError(message) from error
    return file


def _open_lock(path: Path) -> int:
    """Every user of the node can lock the file and nobody needs to write it.

    It is created only where it is missing: in a sticky folder Linux refuses O_CREAT on a file of somebody else.
    """
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.fchmod(descriptor, 0o644)  # whatever the umask
    return descriptor


def _seed(task: Task) -> int:
    return int(hashlib.sha256(task.id.encode()).hexdigest()[:8], 16)
