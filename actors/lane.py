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

from joulegrid.actors.attempt import attempt_folder, environment_text, outcome_of, result_bytes, series_parquet
from joulegrid.actors.child import Launch
from joulegrid.actors.commit import commit
from joulegrid.actors.ending import Ending
from joulegrid.actors.inline import Inline
from joulegrid.actors.portable import local
from joulegrid.actors.record import Attempt, LaneFacts, RunFacts
from joulegrid.actors.result import ExperimentResult, Outcome, Task
from joulegrid.actors.supervisor import Supervisor, ZygoteError
from joulegrid.cases.contract import LaneView
from joulegrid.cluster.power.energy import Energy
from joulegrid.cluster.power.model import model_energy
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


OF_THE_WORKER = "the CPU time is that of the whole worker process, the threads of Ray in it included (isolation inline)"


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
    _runner: Supervisor | Inline = field(init=False)
    _environment: str = field(init=False)
    _locks: list[IO[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        run = self.run_facts
        inline = run.isolation == "inline"
        self._runner = Inline(run.preload) if inline else Supervisor(run.isolation, run.preload, self.facts.cpus)
        self._environment = environment_text(self.facts.environment)

    def prepare(self) -> None:
        """Take the lane's GPUs for this run and bring the zygote up. Raises `PreFlightError`."""
        self._locks = [lock_gpu(uuid) for uuid in self.facts.gpu_uuids]
        try:
            self._runner.start()
        except ZygoteError as error:
            raise PreFlightError(f"{self.facts.name}: no process for tasks can be started: {error}") from error

    def close(self) -> None:
        """End every process of the lane and give its GPUs back."""
        self._runner.close()
        for lock in self._locks:
            lock.close()

    def cancel(self) -> None:
        """Kill the running task; its outcome is `cancelled`."""
        self._runner.cancel()

    def progress(self) -> dict[str, Json] | None:
        """Return the running task's newest progress."""
        return self._runner.last_progress()

    def run(self, task: Task) -> Outcome:
        """Run one task; whatever happens to it is an outcome. Raises `StoreError` when the result cannot be kept."""
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._runner.arm()
        view = self.facts.view(task.experiment)
        used_before = memory_used(view.gpu_uuids)
        try:
            ending = self._process(task, view)
        except ZygoteError as error:
            self._runner.stop()
            return Outcome.lost(task, self.facts.name, str(error))
        left = self._memory_left(view, used_before)
        files = self._runner.artifacts()
        names = tuple(name for name, _ in files)
        attempt = Attempt(task, self.run_facts, self.facts, view, started_at, ending, left, names)
        outcome = self._keep(attempt, files)
        self._runner.forget_task()
        return outcome

    def _process(self, task: Task, view: LaneView) -> Ending:
        """Run the task's process; between two cycles the zygote is renewed, so that repetitions share nothing."""
        if self._cycle not in (None, task.cycle) and self.run_facts.isolation == "zygote":
            self._runner.renew()
        self._cycle = task.cycle
        inputs = {path: local(location) for path, location in task.inputs.items()}
        launch = Launch(task.experiment, inputs, task.fingerprints, view, _seed(task), task.timeout_s)
        try:
            return self._runner.run(launch, on_start=lambda pid: self.meter.watch(self.facts.name, pid))
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

    def _keep(self, attempt: Attempt, files: list[tuple[str, Path]]) -> Outcome:
        """Write the attempt's files, then, for a done task, the marker that commits it."""
        target = Target(attempt.view.gpu_uuids, attempt.view.cpus, None)
        result = attempt.result(lambda t0_ns, t1_ns, cpu_s: self._price(t0_ns, t1_ns, target, cpu_s))
        folder = attempt_folder(attempt.task)
        if result.timeseries is not None:
            self.store.put(f"{folder}/{result.timeseries}", self._series(result, target))
        for name, path in files:
            self.store.put_file(f"{folder}/{name}", path)
        data = result_bytes(result, self._environment)
        self.store.put(f"{folder}/result.json", data)
        outcome = outcome_of(attempt.task, result, folder, data)
        return commit(self.store, attempt.task, outcome) if result.status == "done" else outcome

    def _price(self, t0_ns: int, t1_ns: int, target: Target, cpu_s: float) -> tuple[Energy, list[Energy]]:
        """What a window cost; where the model is all there is, without a question to the sampler."""
        watts = self.run_facts.watts_per_core
        if watts is not None and self.facts.power_sources == ("model",) and not target.gpu_uuids and t1_ns > t0_ns:
            cost: tuple[Energy, list[Energy]] = (model_energy(cpu_s, watts), [])
        else:
            cost = self.meter.energy(t0_ns, t1_ns, target, cpu_s)
        if self.run_facts.isolation != "inline":
            return cost
        main, beside = cost
        return _of_the_worker(main), [_of_the_worker(energy) for energy in beside]

    def _series(self, result: ExperimentResult, target: Target) -> bytes:
        edges = [edge for window in result.windows or [] for edge in (window.t0_ns, window.t1_ns)]
        return series_parquet(
            self.meter.series(min(edges) - AROUND_NS, max(edges) + AROUND_NS, target, self.facts.name)
        )


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


def _of_the_worker(energy: Energy) -> Energy:
    """Say of modelled joules that the CPU time they are made of is the whole worker's."""
    if energy.provenance != "modelled":
        return energy
    return energy.model_copy(update={"interval": f"{energy.interval}; {OF_THE_WORKER}"})


def _seed(task: Task) -> int:
    return int(hashlib.sha256(task.id.encode()).hexdigest()[:8], 16)
