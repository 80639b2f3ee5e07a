"""The driver's side of the workers: bring them up, keep them busy, notice when one is lost. Mechanism, no policy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from joulegrid.actors.placement import Node, Place
from joulegrid.actors.result import Outcome, Task
from joulegrid.actors.sampler import start_sampler
from joulegrid.actors.worker import Setup, start_worker
from joulegrid.cluster.power.sources import PowerConfig
from joulegrid.cluster.storage import StoreError
from joulegrid.errors import JoulegridError, PreFlightError
from joulegrid.jsontypes import Json

START_LIMIT_S = 240.0
POLL_S = 0.2
PROGRESS_S = 1.0
GRACE_S = 240.0
"""Beyond a task's own limit, after which its silent worker is taken for lost; a new zygote may take 180 s of it."""


class Rests(Protocol):
    """What a schedule answers where a lane has to wait."""

    until_s: float
    why: str


class Agenda(Protocol):
    """A schedule, as the pool sees it: what comes next on a lane. `None`: nothing (any more)."""

    def next(self, now_s: float, lane: str, *, skip_gap: bool = False) -> Any:
        """Return a task's order, a rest, or `None`."""
        ...


@dataclass
class LaneState:
    """One lane as the driver sees it; what the progress display shows."""

    place: Place
    actor: Any
    sampler: Any
    facts: dict[str, Json] = field(default_factory=dict)
    task: Task | None = None
    started_s: float = 0.0
    rest: Rests | None = None
    progress: dict[str, Json] | None = None
    question: Any = None
    """The call for progress that is under way."""
    asked_s: float = 0.0


class Pool:
    """The lanes of one run. A context manager: leaving it ends every process that it started."""

    def __init__(self, places: list[Place], setup: Setup, power: PowerConfig) -> None:
        self._setup = setup
        self._places = places
        self._power = power
        self.lanes: list[LaneState] = []
        self._samplers: dict[str, Any] = {}
        self._running: dict[Any, LaneState] = {}
        self.skip_rest = False
        """Set by a person who does not want to wait for the present gaps."""

    def __enter__(self) -> Pool:
        try:
            for place in self._places:
                sampler = self._sampler(place.node)
                self.lanes.append(LaneState(place, start_worker(place, self._setup, sampler), sampler))
            for lane, facts in zip(self.lanes, self._prepared(self.lanes), strict=True):
                lane.facts = facts
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, agenda: Agenda, task_for: Callable[[Any], Task], tick: Callable[[], None]) -> Iterator[Outcome]:
        """Yield outcomes as tasks end until nothing is left; `tick` is called about five times a second."""
        while self._dispatch(agenda, task_for):
            refs = list(self._running)
            ready, _ = ray.wait(refs, timeout=POLL_S) if refs else ([], [])
            if not refs:
                time.sleep(POLL_S / 4)
            for ref in ready:
                yield self._outcome(ref)
            yield from self._overdue()
            self._look()
            tick()

    def cancel(self) -> None:
        """Kill the running tasks, and wait until the lanes are quiet (three seconds at most)."""
        calls = [lane.actor.cancel.remote() for lane in self._running.values()]
        with contextlib.suppress(RayError):
            ray.wait(calls + list(self._running), num_returns=len(calls) + len(self._running), timeout=3.0)

    def close(self) -> None:
        """End lanes and samplers."""
        closing = [lane.actor.close.remote() for lane in self.lanes]
        with contextlib.suppress(RayError):
            ray.wait(closing, num_returns=len(closing), timeout=3.0) if closing else None
        for actor in [*(lane.actor for lane in self.lanes), *self._samplers.values()]:
            ray.kill(actor, no_restart=True)
        self.lanes, self._samplers, self._running = [], {}, {}

    def _sampler(self, node: Node) -> Any:
        if node.node_id not in self._samplers:
            self._samplers[node.node_id] = start_sampler(node.node_id, self._power)
        return self._samplers[node.node_id]

    def _prepared(self, lanes: list[LaneState]) -> list[dict[str, Json]]:
        """Wait for workers to come up; the first reason why one cannot is raised as `PreFlightError`."""
        try:
            facts: list[dict[str, Json]] = ray.get(
                [lane.actor.prepare.remote() for lane in lanes], timeout=START_LIMIT_S
            )
        except RayTaskError as error:
            raise _as_ours(error) from error
        except GetTimeoutError as error:
            raise PreFlightError(
                f"no worker came up within {START_LIMIT_S:.0f} s: the cluster's CPUs or GPUs are taken by other work "
                "(`ray status` shows by whom); wait for it, or ask for fewer resources"
            ) from error
        except RayError as error:
            raise PreFlightError(f"a worker could not be started: {str(error).strip().splitlines()[0]}") from error
        return facts

    def _dispatch(self, agenda: Agenda, task_for: Callable[[Any], Task]) -> bool:
        """Give each idle lane its next task; return whether anything is running or still to come."""
        now_s, waiting = time.monotonic(), False
        for lane in self.lanes:
            if lane.task is not None:
                continue
            answer = agenda.next(now_s, lane.place.lane, skip_gap=self.skip_rest)
            lane.rest = answer if hasattr(answer, "until_s") else None
            waiting = waiting or lane.rest is not None
            if answer is not None and lane.rest is None:
                self._start(lane, task_for(answer))
        self.skip_rest = False
        return waiting or bool(self._running)

    def _start(self, lane: LaneState, task: Task) -> None:
        lane.task, lane.started_s, lane.progress = task, time.monotonic(), None
        lane.question, lane.asked_s = None, lane.started_s
        self._running[lane.actor.run.remote(task)] = lane

    def _outcome(self, ref: Any) -> Outcome:
        lane = self._running.pop(ref)
        task, lane.task = lane.task, None
        assert task is not None
        try:
            outcome: Outcome = ray.get(ref)
        except RayTaskError as error:
            raise _as_ours(error) from error
        except RayActorError as error:
            return self._lost(lane, task, f"the worker was lost: {str(error).strip().splitlines()[0]}")
        return outcome

    def _overdue(self) -> Iterator[Outcome]:
        """A worker that is silent beyond its task's limit is killed and replaced."""
        now_s = time.monotonic()
        for ref, lane in list(self._running.items()):
            task = lane.task
            if task is not None and task.timeout_s is not None and now_s - lane.started_s > task.timeout_s + GRACE_S:
                del self._running[ref]
                lane.task = None
                yield self._lost(lane, task, "the worker did not answer after its task's limit")

    def _lost(self, lane: LaneState, task: Task, why: str) -> Outcome:
        """Replace a lost worker; its task's outcome is an infrastructure fault."""
        ray.kill(lane.actor, no_restart=True)
        lane.actor = start_worker(lane.place, self._setup, lane.sampler)
        lane.facts = self._prepared([lane])[0]
        return Outcome.lost(task, lane.place.lane, why)

    def _look(self) -> None:
        """Ask each busy worker for its progress, once a second, without waiting for the answer."""
        now_s = time.monotonic()
        for lane in self._running.values():
            if lane.question is None and now_s - lane.asked_s >= PROGRESS_S:
                lane.question, lane.asked_s = lane.actor.progress.remote(), now_s
            if lane.question is not None and ray.wait([lane.question], timeout=0)[0]:
                with contextlib.suppress(RayError):
                    lane.progress = ray.get(lane.question) or lane.progress
                lane.question = None


def cluster_nodes() -> list[Node]:
    """Return the living nodes of the Ray cluster that offer CPUs or GPUs, in a stable order."""
    found = []
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        has = node["Resources"]
        if node["Alive"]:
            found.append(
                Node(node["NodeID"], node["NodeManagerHostname"], int(has.get("CPU", 0)), int(has.get("GPU", 0)))
            )
    names = [node.name for node in found]
    distinct = [
        Node(
            node.node_id,
            f"{node.name}-{node.node_id[:6]}" if names.count(node.name) > 1 else node.name,
            node.cpus,
            node.gpus,
        )
        for node in found
    ]
    return sorted((node for node in distinct if node.cpus or node.gpus), key=lambda node: node.name)


def _as_ours(error: RayTaskError) -> JoulegridError:
    """Unwrap what a worker raised; our own errors keep their class and message."""
    cause = error.cause
    if isinstance(cause, PreFlightError | StoreError):
        return type(cause)(str(cause))
    if isinstance(cause, JoulegridError):
        return cause
    return JoulegridError(f"a worker failed, which is a bug of Joulegrid: {error}")
