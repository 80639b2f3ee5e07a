"""Which lanes a run has: workers are brought up beside the work of others, replaced, and given up with their node."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from joulegrid.actors.attempt import attempt_folder
from joulegrid.actors.commit import committed
from joulegrid.actors.lane_state import LaneState
from joulegrid.actors.nodes import cluster_nodes
from joulegrid.actors.outcome import Outcome
from joulegrid.actors.placement import Node, Place
from joulegrid.actors.sampler import sampler_on
from joulegrid.actors.worker import Setup, start_worker
from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.cluster.storage import StoreError
from joulegrid.errors import JoulegridError, PreFlightError

START_LIMIT_S = 240.0
TARRY_S = 30.0
"""How long a run whose first lanes are up waits for each further one before it begins."""
NOBODY_CAME = (
    f"none came up within {START_LIMIT_S:.0f} s: the cluster's CPUs or GPUs are taken by other work (`ray status` "
    "shows by whom); wait for it, or ask for fewer resources"
)
GONE = "its node is gone"
FAILURES = 3
"""So often in a row a worker may die before it is up; then its lane is given up."""
HELD_S = 60.0
"""How long after a loss a lane may be refused by its own node: until Ray has ended the old worker it holds the GPUs."""
AGAIN_S = 2.0
"""Pause before the next try."""
NO_LANE_S = 60.0
"""How long a run waits for a node when no lane is left."""
LAST_LANE_S = 10.0
"""How long a run whose other lanes have nothing to do waits for a worker that died and is being replaced; for one that
went silent it does not wait."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a run has its lanes."""

    exclusive_node: bool = False
    """One task at a time on each node."""
    layout: Callable[[Sequence[Node]], list[Place]] | None = None
    """The lanes of nodes that join while the run goes on; `None` leaves such nodes alone."""
    note: Callable[[str], None] = logging.getLogger(__name__).warning
    """Told in words of every worker and lane that is lost, given up or added."""


class Roster:
    """The lanes and samplers of one run."""

    def __init__(self, setup: Setup, power: PowerConfig, terms: Terms) -> None:
        self.lanes: list[LaneState] = []
        self._setup, self._power, self._terms = setup, power, terms
        self._samplers: dict[str, Any] = {}
        self._known: set[str] = set()
        """Ids of the nodes that were given lanes, or shall have none."""
        self._losses: list[str] = []
        self._bare_s: float | None = None
        """Since when there is no lane at all."""

    def open(self, places: list[Place]) -> None:
        """Bring lanes up and wait for them; the first reason why one cannot is raised as `PreFlightError`.

        Where some are up and others tarry for `TARRY_S`, the run begins without these.
        """
        self._known = {node.node_id for node in cluster_nodes()}
        for place in places:
            self._add(place)
        while coming := {lane.coming: lane for lane in self.lanes if lane.coming is not None}:
            wait_s = TARRY_S if any(lane.is_up for lane in self.lanes) else START_LIMIT_S
            ready, _ = ray.wait(list(coming), timeout=wait_s)
            if not ready:
                break
            self.arrived(coming[ready[0]], opening=True)
        if not any(lane.is_up for lane in self.lanes):
            raise PreFlightError(f"no worker could be started: {'; '.join(self._losses) or NOBODY_CAME}")

    def close(self) -> None:
        """End lanes and samplers; three seconds at most for those that answer."""
        closing = [lane.actor.close.remote() for lane in self.lanes if lane.is_up]
        with contextlib.suppress(RayError):
            ray.wait(closing, num_returns=len(closing), timeout=3.0) if closing else None
        for actor in [*(lane.actor for lane in self.lanes if lane.actor is not None), *self._samplers.values()]:
            ray.kill(actor, no_restart=True)
        self.lanes, self._samplers = [], {}

    def arrived(self, lane: LaneState, *, opening: bool = False) -> None:
        """Take the answer of a worker that was to come up. While a run opens, a refusal is raised."""
        call, lane.coming = lane.coming, None
        try:
            lane.facts = ray.get(call)
            lane.failures = 0
        except RayTaskError as error:
            refusal = as_ours(error)
            if opening:
                raise refusal from error
            held = lane.lost_s is not None and time.monotonic() - lane.lost_s < HELD_S
            self._try_again(lane, str(refusal), worth_it=held)
        except RayError as error:
            lane.failures += 1
            self._try_again(lane, first_line(error), worth_it=lane.failures < FAILURES)

    def replace(self, lane: LaneState, why: str, *, silent: bool = False) -> list[Outcome]:
        """Start another worker in place of a lost one, without waiting for it; return what became of its tasks.

        A silent worker is its lane's fault. One that died may have been killed by its task, and comes back soon.
        """
        outcomes = self._lost(lane, why, why if silent else None)
        self._terms.note(f"{lane.place.lane}: {why}; a new worker is started there")
        lane.lost_s = time.monotonic()
        lane.expected_s = lane.lost_s + (0.0 if silent else LAST_LANE_S)
        self._bring_up(lane)
        return outcomes

    def care(self, now_s: float) -> None:
        """Start workers that are due again; give up those that do not come."""
        for lane in list(self.lanes):
            if lane.actor is None and now_s >= lane.again_s:
                self._bring_up(lane)
            elif lane.coming is not None and now_s - lane.came_s > START_LIMIT_S:
                self._drop(lane, f"no worker came up within {START_LIMIT_S:.0f} s")

    def survey(self) -> list[Outcome]:
        """Drop the lanes of nodes that are gone, give lanes to new nodes; return the outcomes of lost tasks."""
        nodes = cluster_nodes()
        living = {node.node_id for node in nodes}
        lost = []
        for lane in [lane for lane in self.lanes if lane.place.node.node_id not in living]:
            if lane.task is not None:
                lost += self._lost(lane, GONE, GONE)
            self._drop(lane, GONE)
        for node_id in self._samplers.keys() - living:
            ray.kill(self._samplers.pop(node_id), no_restart=True)
        for node in [node for node in nodes if node.node_id not in self._known]:
            self._known.add(node.node_id)
            self._join(node)
        return lost

    def _lost(self, lane: LaneState, why: str, lane_fault: str | None) -> list[Outcome]:
        """Return what became of the tasks of a lost worker.

        Of several one was running, the first that has left no result. Those before it count where they are committed.
        """
        *several, last = lane.end()
        store, outcomes, lost = self._setup.store, list[Outcome](), None
        for task in [*several, last]:
            found = committed(store, task) if several else None
            if found is not None and found.status == "done":
                outcomes.append(found)
            elif lost is None and not (several and store.exists(f"{attempt_folder(task)}/result.json")):
                lost = Outcome.lost(task, lane.place.lane, why, lane_fault=lane_fault)
                outcomes.append(lost)
            else:
                outcomes.append(Outcome.given_back(task, lane.place.lane))
        return outcomes

    def may_grow(self, now_s: float) -> bool:
        """Whether a lane may come that can do what the others cannot.

        Raises:
            PreFlightError: when there has been no lane at all for a minute.
        """
        if self.lanes:
            soon = any(not lane.is_up and now_s < lane.expected_s for lane in self.lanes)
            return soon or not any(lane.is_up for lane in self.lanes)
        self._bare_s = self._bare_s or now_s
        if now_s - self._bare_s > NO_LANE_S:
            raise PreFlightError(
                f"no lane is left, and no node joined within {NO_LANE_S:.0f} s: {'; '.join(self._losses[-8:])}. What "
                "was finished is kept: start the same study again when the cluster has nodes"
            )
        return True

    def _add(self, place: Place) -> None:
        node_id = place.node.node_id
        if node_id not in self._samplers:
            self._samplers[node_id] = sampler_on(node_id, self._power)
        lane = LaneState(place, self._samplers[node_id])
        self.lanes.append(lane)
        self._bare_s = None
        self._bring_up(lane)

    def _bring_up(self, lane: LaneState) -> None:
        self._end_worker(lane)
        lane.actor = start_worker(lane.place, self._setup, lane.sampler)
        lane.coming, lane.came_s = lane.actor.prepare.remote(), time.monotonic()

    def _end_worker(self, lane: LaneState) -> None:
        """End what is left of a lane's worker; one out of reach is ended by Ray when its node is declared dead."""
        if lane.actor is not None:
            ray.kill(lane.actor, no_restart=True)
        lane.actor = lane.coming = lane.running = lane.question = None

    def _try_again(self, lane: LaneState, why: str, *, worth_it: bool) -> None:
        self._end_worker(lane)
        if worth_it:
            lane.again_s = time.monotonic() + AGAIN_S
        else:
            self._drop(lane, why)

    def _drop(self, lane: LaneState, why: str) -> None:
        self._end_worker(lane)
        self.lanes.remove(lane)
        self._losses.append(f"{lane.place.lane}: {why}")
        self._terms.note(f"{lane.place.lane} is given up: {why}; {len(self.lanes)} lanes are left")

    def _join(self, node: Node) -> None:
        if self._terms.layout is None:
            return
        try:
            places = self._terms.layout([node])
        except PreFlightError as error:
            self._terms.note(f"{node.name} has joined, but gets no lane: {error}")
            return
        for place in places:
            self._add(place)
        self._terms.note(f"{node.name} has joined; it gets {', '.join(place.lane for place in places)}")


def as_ours(error: RayTaskError) -> JoulegridError:
    """Unwrap what a worker raised; our own errors keep their class and message."""
    cause = error.cause
    if isinstance(cause, PreFlightError | StoreError):
        return type(cause)(str(cause))
    if isinstance(cause, JoulegridError):
        return cause
    return JoulegridError(f"a worker failed, which is a bug of Joulegrid: {error}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; Ray's go on for pages."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
