"""The Ray actor of one lane: a thin shell around `Lane`, and the handle by which the driver talks to it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from joulegrid.actors.commit import Done
from joulegrid.actors.lane import Lane
from joulegrid.actors.placement import Place
from joulegrid.actors.record import LaneFacts, RunFacts
from joulegrid.actors.result import UNKEPT, Outcome, Task
from joulegrid.actors.zygote import adopt_orphans
from joulegrid.cluster.drift import fingerprint
from joulegrid.cluster.environment import capture
from joulegrid.cluster.power.energy import Energy
from joulegrid.cluster.power.sampler.recorder import Target
from joulegrid.cluster.power.sensors.conditions import Conditions
from joulegrid.cluster.power.sensors.series import Sample
from joulegrid.cluster.storage import Store, StoreError
from joulegrid.cluster.visible import visible_uuids
from joulegrid.errors import PreFlightError
from joulegrid.jsontypes import Json
from joulegrid.kernels.judge import process_tree


@dataclass(frozen=True, slots=True)
class Setup:
    """What every worker of a run is told."""

    run_facts: RunFacts
    store: Store
    git_folder: str
    packages: tuple[str, ...]
    """Distributions' import names that the workload needs."""
    witness: tuple[str, bytes] | None = None
    """A path in the store and what must stand there: the proof that worker and driver see one store."""


SAMPLER_LIMIT_S = 60.0
"""How long a lane waits for its node's sampler to be back; Ray needs 2 s for the process, NVML up to 20."""
BUNDLE_LIMIT_S = 5.0
"""What is left after so long of several tasks that were ordered together is given back: they were not so tiny."""
CALLS = 6
"""Calls that a worker answers at the same time: the task (twice when Ray lost the first call), a look, its end."""


class SamplerLostError(Exception):
    """The node's sampler does not know the window: it has died, or it began to read after the window did."""


@dataclass(frozen=True, slots=True)
class RemoteMeter:
    """The node's sampler, asked through Ray."""

    sampler: Any

    def watch(self, lane: str, pid: int) -> None:
        """Begin to follow a task's process."""
        self.sampler.watch.remote(lane, pid)

    def unwatch(self, lane: str) -> None:
        """Stop following it."""
        self.sampler.unwatch.remote(lane)

    def energy(self, t0_ns: int, t1_ns: int, target: Target, cpu_s: float) -> tuple[Energy, list[Energy]]:
        """Joules between two times of this node's monotonic clock."""
        answer: tuple[Energy, list[Energy]] = _asked(self.sampler.energy.remote(t0_ns, t1_ns, target, cpu_s))
        return answer

    def series(self, t0_ns: int, t1_ns: int, target: Target, lane: str) -> list[Sample]:
        """Power between two times of this node's monotonic clock."""
        samples: list[Sample] = _asked(self.sampler.series.remote(t0_ns, t1_ns, target, lane))
        return samples

    def sources(self) -> list[str]:
        """See that the sampler reads, and give what. Raises `PreFlightError` where an explicit source is missing."""
        try:
            sources: list[str] = ray.get(self.sampler.start.remote())
        except PreFlightError as error:
            raise PreFlightError(str(getattr(error, "cause", error))) from None
        return sources

    def conditions(self, t0_ns: int, t1_ns: int, target: Target) -> list[Conditions]:
        """What the lane's GPUs were like between two times of this node's monotonic clock."""
        found: list[Conditions] = _asked(self.sampler.conditions.remote(t0_ns, t1_ns, target))
        return found

    def marks(self) -> str:
        """Where tasks send their marks. A sampler that Ray starts again has another address: then they are lost."""
        address: str = ray.get(self.sampler.marks.remote())
        return address

    def await_sampler(self) -> None:
        """Wait until Ray has the sampler running again; after a minute the next window will tell."""
        limit_s = time.monotonic() + SAMPLER_LIMIT_S
        while time.monotonic() < limit_s:
            with contextlib.suppress(RayError, PreFlightError):
                self.sources()
                return
            time.sleep(0.2)


def _asked(call: Any) -> Any:
    try:
        return ray.get(call)
    except RayError as error:
        raise SamplerLostError(str(error).strip().splitlines()[-1]) from error


class Worker:
    """Owns one lane for the length of a run; see `CALLS` for what may be in flight."""

    def __init__(self, place: Place, setup: Setup, sampler: Any) -> None:
        self._place, self._setup, self._meter = place, setup, RemoteMeter(sampler)
        self._lane: Lane | None = None
        self._at_work = threading.Lock()
        self._cancelled = threading.Event()
        self._last: tuple[int, list[Outcome]] | None = None

    def prepare(self) -> dict[str, Json]:
        """Check this node, take the lane's devices and bring its zygote up. Raises `PreFlightError`."""
        self._check_node()
        adopt_orphans()
        context = ray.get_runtime_context()
        names = {"node_id": context.get_node_id(), "job_id": context.get_job_id(), "version": ray.__version__}
        facts = LaneFacts(
            name=self._place.lane,
            node=self._place.node.name,
            environment=capture(Path(self._setup.git_folder), names),
            gpu_uuids=self._gpus(),
            cpus=self._cores(),
            power_sources=tuple(self._meter.sources()),
            marks=self._meter.marks(),
        )
        self._lane = Lane(facts, self._setup.run_facts, self._setup.store, self._meter)
        self._lane.prepare()
        models = [gpu.name for gpu in facts.environment.gpus if gpu.uuid in facts.gpu_uuids]
        environment = fingerprint(facts.environment, models if facts.gpu_uuids else [])
        return {
            "environment": environment,
            "device": facts.device,
            "gpu_uuids": list(facts.gpu_uuids),
            "cpus": list(facts.cpus),
        }

    def run(self, tasks: Sequence[Task], order: int = 0) -> list[Outcome]:
        """Run one task in a fresh process, or several tiny ones one after the other, and store what came out.

        `order` tells orders apart: given once more, because the first call or its answer was lost on the way, an order
        is not carried out again but answered with its outcomes.
        """
        with self._at_work:
            if order == 0 or self._last is None or self._last[0] != order:
                self._last = (order, self._run_all(tasks))
            return self._last[1]

    def _run_all(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Run tasks one after the other; after the first that is not as it should be the rest is given back.

        They are committed together: nothing of it can fall into another's measured window.
        """
        self._cancelled.clear()
        limit_s, ended = time.monotonic() + BUNDLE_LIMIT_S, list[Outcome | Done]()
        for task in tasks:
            ended.append(self._run(task))
            is_well = isinstance(ended[-1], Done) and ended[-1].outcome.lane_fault is None
            if not is_well or self._cancelled.is_set() or time.monotonic() > limit_s:
                break
        rest = [Outcome.given_back(task, self._place.lane) for task in tasks[len(ended) :]]
        return self._settled(ended) + rest

    def _settled(self, ended: Sequence[Outcome | Done]) -> list[Outcome]:
        try:
            return self._prepared().settle(ended)
        except StoreError as error:
            return [one if isinstance(one, Outcome) else self._unkept(one.task, error) for one in ended]

    def _unkept(self, task: Task, error: StoreError) -> Outcome:
        """The node's way to the store may be the fault: other lanes try the task."""
        why = f"{UNKEPT}{error}"
        return Outcome.lost(task, self._place.lane, why, lane_fault=why)

    def _run(self, task: Task) -> Outcome | Done:
        try:
            outcome = self._prepared().carry_out(task)
        except SamplerLostError as error:  # nothing was kept: its joules are unknown through no fault of the task
            self._meter.await_sampler()
            return Outcome.lost(task, self._place.lane, f"the node's sampler was lost: {error}")
        except StoreError as error:
            return self._unkept(task, error)
        if isinstance(outcome, Outcome) and outcome.failure_class == "infra":
            process_tree.kill_below(os.getpid())  # what outlived its zygote has come to this process
        return outcome

    def progress(self) -> dict[str, Json] | None:
        """Return the running task's newest progress; also the sign that this worker lives."""
        return self._prepared().progress()

    def cancel(self) -> None:
        """Kill the running task, and begin none that was ordered with it."""
        self._cancelled.set()
        if self._lane is not None:
            self._lane.cancel()

    def hold_to_limit(self) -> None:
        """End this process where the task inside it overruns its limit (isolation inline)."""
        if self._lane is not None:
            self._lane.hold_to_limit()

    def close(self) -> None:
        """End all processes of the lane."""
        if self._lane is not None:
            self._lane.close()
            process_tree.kill_below(os.getpid())

    def _prepared(self) -> Lane:
        assert self._lane is not None, "prepare() comes first"
        return self._lane

    def _check_node(self) -> None:
        from importlib.util import find_spec

        missing = [name for name in self._setup.packages if find_spec(name) is None]
        if missing:
            raise PreFlightError(
                f"{self._place.node.name}: {', '.join(missing)} is not installed there, but the study needs it; "
                "install it on every node (torch and transformers: pip install 'joulegrid[pytorch]')"
            )
        if self._setup.witness is not None:
            self._check_store(*self._setup.witness)

    def _check_store(self, path: str, expected: bytes) -> None:
        try:
            seen = self._setup.store.get(path)
        except FileNotFoundError:
            seen = b""
        except StoreError as error:
            raise PreFlightError(f"{self._place.node.name} cannot read the store: {error}") from error
        if seen != expected:
            raise PreFlightError(
                f"{self._place.node.name} does not see the driver's files in {self._setup.store.url}: the folder is "
                "not shared; give an output that every node sees: s3://bucket/prefix or a shared absolute folder"
            )

    def _gpus(self) -> tuple[str, ...]:
        if not self._place.gpus:
            return ()
        return visible_uuids(os.environ.get("CUDA_VISIBLE_DEVICES"), self._place.gpus)

    def _cores(self) -> tuple[int, ...]:
        offered = sorted(os.sched_getaffinity(0))
        first = self._place.first_cpu
        return tuple(offered[first : first + self._place.cpus]) or tuple(offered)


def start_worker(place: Place, setup: Setup, sampler: Any) -> Any:
    """Start the actor of one lane on its own node."""
    where = NodeAffinitySchedulingStrategy(place.node.node_id, soft=False)
    # Ray never restarts it: the pool does, and counts the attempt.
    options = {"num_cpus": place.cpus, "num_gpus": place.gpus, "max_restarts": 0, "max_concurrency": CALLS}
    actor: Any = ray.remote(Worker)
    return actor.options(**options, scheduling_strategy=where).remote(place, setup, sampler)
