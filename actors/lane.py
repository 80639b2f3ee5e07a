"""One lane at work: run a task, ask what it cost, keep its result. No Ray; the actor around it is `worker.py`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

from joulegrid.actors.appraisal import STEP_LOG, Seen, appraised
from joulegrid.actors.attempt import (
    CONTAMINATED,
    attempt_folder,
    environment_text,
    outcome_of,
    result_bytes,
    series_parquet,
)
from joulegrid.actors.calibrate import calibrate_once
from joulegrid.actors.child import Launch
from joulegrid.actors.commit import Done, commit_all
from joulegrid.actors.ending import Ending, not_started, unkilled
from joulegrid.actors.gate import Start, wait_until_cool
from joulegrid.actors.gpu_watch import GpuWatch, Idle
from joulegrid.actors.idle import BareIdle
from joulegrid.actors.idle import Meter as IdleMeter
from joulegrid.actors.inline import Inline
from joulegrid.actors.outcome import Outcome
from joulegrid.actors.portable import local
from joulegrid.actors.pricing import Cost
from joulegrid.actors.record import Attempt, LaneFacts, RunFacts
from joulegrid.actors.result import ExperimentResult, Task
from joulegrid.actors.spent import spent_in_raw
from joulegrid.actors.supervisor import Supervisor, ZygoteError, ZygoteStartError
from joulegrid.cases.contract import LaneView
from joulegrid.cluster.gpu_lock import lock_gpus
from joulegrid.cluster.gpu_use import parents, slices_of
from joulegrid.cluster.power.baseline import Baseline
from joulegrid.cluster.power.energy import Energy
from joulegrid.cluster.power.sampler.recorder import Target
from joulegrid.cluster.power.sensors.conditions import Conditions
from joulegrid.cluster.power.sensors.model import model_energy
from joulegrid.cluster.power.sensors.series import Sample
from joulegrid.cluster.storage import Store
from joulegrid.errors import PreFlightError
from joulegrid.jsontypes import Json

AROUND_NS = 1_000_000_000
"""How much of the power series is kept before the first and after the last window."""
OF_THE_WORKER = "the CPU time is that of the whole worker process, the threads of Ray in it included (isolation inline)"


class Meter(IdleMeter, Protocol):
    """Answers what a window cost: a node's sampler, or a recorder in this process."""

    def watch(self, lane: str, pid: int) -> None:
        """Begin to follow a task's process."""
        ...

    def unwatch(self, lane: str) -> None:
        """Stop following it."""
        ...

    def conditions(self, t0_ns: int, t1_ns: int, target: Target) -> list[Conditions]:
        """What the target's GPUs were like."""
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
    _idle: Idle = field(default_factory=Idle)
    _waits_for: str | None = None
    _bare: tuple[Baseline, ...] | None = None
    """Idle power before the first task; `None` until then."""

    def __post_init__(self) -> None:
        run = self.run_facts
        inline = run.isolation == "inline"
        self._runner = Inline(run.preload) if inline else Supervisor(run.isolation, run.preload, self.facts.cpus)
        self._environment = environment_text(self.facts.environment)

    def prepare(self) -> None:
        """Take the lane's GPUs for this run and bring the zygote up. Raises `PreFlightError`."""
        self._locks = lock_gpus(self.facts.gpu_uuids, self.run_facts.run)
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

    def hold_to_limit(self) -> None:
        """End this process where the running task overruns its limit inside it; other tasks are held from outside."""
        if isinstance(self._runner, Inline):
            self._runner.hold_to_limit()

    def progress(self) -> dict[str, Json] | None:
        """Return the running task's newest progress, or what the lane waits for."""
        if self._waits_for is not None:
            return {"done": 0.0, "total": 0.0, "note": self._waits_for}
        return self._runner.last_progress()

    def run(self, task: Task) -> Outcome:
        """Run one task and keep its result. Raises `StoreError` when it cannot be kept."""
        return self.settle([self.carry_out(task)])[0]

    def settle(self, carried_out: Sequence[Outcome | Done]) -> list[Outcome]:
        """Commit what was done; return what counts of every task."""
        counted = iter(commit_all(self.store, [one for one in carried_out if isinstance(one, Done)]))
        return [
            # What an attempt has spent stands also where another one counts.
            replace(next(counted), lane_fault=one.outcome.lane_fault, spent=one.outcome.spent)
            if isinstance(one, Done)
            else one
            for one in carried_out
        ]

    def carry_out(self, task: Task) -> Outcome | Done:
        """Run one task; whatever happens to it is an outcome, but a done one does not count before it is settled."""
        self._runner.arm()
        view = self.facts.idling(task.experiment, self.run_facts.baseline)
        self._measure_bare_idle()
        start = self._cool(view)
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        watch = GpuWatch(view.gpu_uuids, self._idle, keeps_memory=self.run_facts.isolation == "inline")
        watch.before()
        if watch.lost is not None:
            return Outcome.lost(task, self.facts.name, watch.lost, lane_fault=watch.lost)
        try:
            with watch.during():
                ending = self._process(task, view) if watch.contaminated is None else not_started()
        except ZygoteError as error:
            self._runner.stop()
            self._runner.forget_task()
            fault = str(error) if isinstance(error, ZygoteStartError) else None
            return Outcome.lost(task, self.facts.name, str(error), lane_fault=fault)
        watch.after()
        outcome = self._keep(Attempt(task, self.run_facts, self.facts, view, started_at, ending, watch, start))
        self._runner.forget_task()
        outcome = replace(outcome, lane_fault=watch.fault or unkilled(ending))
        return Done(task, outcome) if outcome.status == "done" else outcome

    def _cool(self, view: LaneView) -> Start:
        """Wait, before the task's limit begins to run, until the GPUs are cool enough."""
        if not view.gpu_uuids:
            return Start()

        def say(what: str) -> None:
            self._waits_for = what

        try:
            gate = self.run_facts.temperature_gate
            return wait_until_cool(view.gpu_uuids, gate, say, lambda: self._runner.cancelled)
        finally:
            self._waits_for = None

    def _measure_bare_idle(self) -> None:
        """Before the first task alone: later nobody can say that the device is as nobody left it."""
        terms = self.run_facts.baseline
        if self._bare is not None or terms is None or terms.bare_s <= 0:
            return
        view = self.facts.view({})
        view = replace(view, gpu_uuids=parents(view.gpu_uuids))  # of a MIG instance the whole GPU is looked at
        if not view.has_sensor:
            why = "no sensor reads this lane's devices; modelled joules have no idle power in them"
            self._bare = (Baseline(kind="bare_idle", reason=why),)
            return
        self._calibrate(view.gpu_uuids)
        gpus = self.facts.environment.gpus
        driver = next((gpu.driver for gpu in gpus if gpu.uuid in view.gpu_uuids), None)
        self._waits_for = f"measuring idle power ({terms.bare_s:g} s)"
        try:
            look = BareIdle(
                self.meter, Target(view.gpu_uuids, view.cpus), self.facts.name, driver, lambda: self._runner.cancelled
            )
            found = look.measured(terms)
            self._bare = None if self._runner.cancelled else found
        finally:
            self._waits_for = None

    def _calibrate(self, gpu_uuids: Sequence[str]) -> None:
        self._waits_for = "calibrating the power sensors, once for a GPU and its driver (half a minute)"
        try:
            calibrate_once(gpu_uuids, lambda: self._runner.cancelled)
        finally:
            self._waits_for = None

    def _process(self, task: Task, view: LaneView) -> Ending:
        """Run the task's process; between two cycles the zygote is renewed, so that repetitions share nothing."""
        if self._cycle not in (None, task.cycle) and self.run_facts.isolation == "zygote":
            self._runner.renew()
        self._cycle = task.cycle
        inputs = {path: local(location) for path, location in task.inputs.items()}
        marks = self.facts.marks
        launch = Launch(task.experiment, inputs, task.fingerprints, view, _seed(task), task.timeout_s, marks)
        try:
            return self._runner.run(launch, on_start=lambda pid: self.meter.watch(self.facts.name, pid))
        finally:
            if self.run_facts.isolation != "inline":
                self.meter.unwatch(self.facts.name)

    def _keep(self, attempt: Attempt) -> Outcome:
        """Write the attempt's files; those of a done task need not be durable before its marker is."""
        target = Target(attempt.view.gpu_uuids, attempt.view.cpus, None)
        files = self._runner.artifacts()

        def price(t0_ns: int, t1_ns: int, cpu_s: float) -> Cost:
            energy, beside = self._price(t0_ns, t1_ns, target, cpu_s)
            return energy, beside, self.meter.conditions(t0_ns, t1_ns, target) if target.gpu_uuids else []

        raw, folder = attempt.raw(price), attempt_folder(attempt.task)
        names = [name for name, _ in files] + ([CONTAMINATED] if raw is not None else [])
        result = replace(attempt, artifacts=tuple(names)).result(price)
        samples = self._samples(result, target)
        result = appraised(result, self._seen(attempt, samples, dict(files), result))
        if result.timeseries is not None:
            self.store.put(f"{folder}/{result.timeseries}", series_parquet(samples), durable=False)
        for name, path in files:
            self.store.put_file(f"{folder}/{name}", path)
        if raw is not None:
            self.store.put(f"{folder}/{CONTAMINATED}", json.dumps(raw, indent=1).encode())
        data = result_bytes(result, self._environment)
        self.store.put(f"{folder}/result.json", data, durable=result.status != "done")
        outcome = outcome_of(attempt.task, result, folder, data)
        return outcome if raw is None else replace(outcome, spent=spent_in_raw(raw, result.timing.unix_offset_ns or 0))

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

    def _samples(self, result: ExperimentResult, target: Target) -> list[Sample]:
        if result.timeseries is None:
            return []
        edges = [edge for window in result.windows or [] for edge in (window.t0_ns, window.t1_ns)]
        return self.meter.series(min(edges) - AROUND_NS, max(edges) + AROUND_NS, target, self.facts.name)

    def _seen(self, attempt: Attempt, samples: list[Sample], files: dict[str, Path], result: ExperimentResult) -> Seen:
        """What was seen of the lane beside the marks."""
        view = attempt.view
        mig = bool(view.gpu_uuids) and view.gpu_uuids[0].startswith("MIG-")
        return Seen(
            samples=samples,
            celsius=attempt.watch.celsius if view.gpu_uuids else None,
            done={mark["t0_ns"]: mark.get("done") or () for mark in attempt.marks},
            bare=self._bare or (),
            idle_s=view.idle_s,
            steps=files.get(STEP_LOG),
            parents=self._of_parents(result, parents(view.gpu_uuids)) if mig else None,
            slices=slices_of(view.gpu_uuids[0]) if mig else None,
        )

    def _of_parents(self, result: ExperimentResult, uuids: tuple[str, ...]) -> dict[int, Energy]:
        """Joules of the whole GPUs that the lane's instances are parts of, window by window."""
        windows = result.windows or []
        return {one.t0_ns: self.meter.energy(one.t0_ns, one.t1_ns, Target(uuids), 0.0)[0] for one in windows}


def _of_the_worker(energy: Energy) -> Energy:
    """Say of modelled joules that the CPU time they are made of is the whole worker's."""
    if energy.provenance != "modelled":
        return energy
    return energy.model_copy(update={"interval": f"{energy.interval}; {OF_THE_WORKER}"})


def _seed(task: Task) -> int:
    return int(hashlib.sha256(task.id.encode()).hexdigest()[:8], 16)
