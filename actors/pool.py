"""The driver's side of the workers: keep them busy, take what they bring, notice when one is lost. No policy.

A lane's worker is lost when Ray says so, or when it has owed an answer for `SILENCE_S`. Its task comes back at once as
an outcome of class `infra`. What a lost worker may still commit meets the commit marker, where the first writer wins.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError, RayTaskError

from joulegrid.actors.lane_state import LaneState
from joulegrid.actors.nodes import cluster_nodes
from joulegrid.actors.outcome import Outcome
from joulegrid.actors.placement import Place
from joulegrid.actors.result import Task
from joulegrid.actors.roster import Roster, Terms, as_ours, first_line
from joulegrid.actors.worker import Setup
from joulegrid.cluster.power.sensors.sources import PowerConfig

__all__ = ["Agenda", "Pool", "Terms", "cluster_nodes"]

POLL_S = 0.2
SURVEY_S = 5.0
"""How often Ray is asked which nodes live."""
SILENCE_S = 15.0
"""How long a busy worker may owe an answer. A lost task must be with another lane within 30 s, and Ray takes about 15 s
itself to call a node dead; a worker that merely waits for a core answers within one or two."""
GRACE_S = 240.0
"""Beyond a task's own limit, after which its worker is taken for lost; a new zygote may take 180 s of it. What a
temperature gate may wait comes on top."""


class Agenda(Protocol):
    """A schedule, as the pool sees it: what comes next on a lane. `None`: nothing (any more)."""

    def next(self, now_s: float, lane: str, *, skip_gap: bool = False) -> Any:
        """Return a task's order, a rest (it has `until_s` and `why`), or `None`."""
        ...

    def at_once(self) -> int:
        """Return how many tasks a lane may be given at once, to be run one after the other."""
        ...


class Pool:
    """The lanes of one run. A context manager: leaving it ends every process that it started."""

    def __init__(self, places: list[Place], setup: Setup, power: PowerConfig, terms: Terms | None = None) -> None:
        self._places = places
        self._terms = terms or Terms()
        self._roster = Roster(setup, power, self._terms)
        self._grace_s = GRACE_S + setup.run_facts.patience_s
        self._inline = setup.run_facts.isolation == "inline"
        self._cancelled = False
        self._looked_s = self._surveyed_s = self._ticked_s = 0.0
        self.skip_rest = False
        """Set by a person who does not want to wait for the present gaps."""

    @property
    def lanes(self) -> list[LaneState]:
        """The lanes that there are now, those included whose worker is still coming up."""
        return self._roster.lanes

    def __enter__(self) -> Pool:
        try:
            self._roster.open(self._places)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, agenda: Agenda, task_for: Callable[[Any], Task], tick: Callable[[], None]) -> Iterator[Outcome]:
        """Yield outcomes as tasks end until nothing is left; `tick` is called about five times a second.

        Raises:
            PreFlightError: when no lane is left and no node has joined for a minute.
        """
        self._looked_s = self._surveyed_s = time.monotonic()
        while self._dispatch(agenda, task_for):
            yield from self._answers()
            now_s = time.monotonic()
            if now_s - self._looked_s >= POLL_S:
                yield from self._look(now_s)
            if now_s - self._ticked_s >= POLL_S:
                tick()
                self._ticked_s = now_s

    def cancel(self) -> None:
        """Kill the running tasks, and wait until the lanes are quiet (three seconds at most). Nothing begins any more.

        A task inside its worker dies with it; where it holds the interpreter, the worker is killed from outside.
        """
        self._cancelled = True
        busy = [lane for lane in self.lanes if lane.running is not None]
        if self._inline:
            for lane in busy:
                lane.end_inside("cancelled", time.monotonic())
            calls = [call for lane in busy for call in (lane.ending, lane.running)]
        else:
            calls = [lane.actor.cancel.remote() for lane in busy] + [lane.running for lane in busy]
        with contextlib.suppress(RayError):
            ray.wait(calls, num_returns=len(calls), timeout=3.0) if calls else None

    def close(self) -> None:
        """End lanes and samplers."""
        self._roster.close()

    def _dispatch(self, agenda: Agenda, task_for: Callable[[Any], Task]) -> bool:
        """Give each idle lane its next task; return whether anything is running or may still come."""
        now_s = time.monotonic()
        taken = {lane.place.node.node_id for lane in self.lanes if lane.task is not None}
        goes_on = bool(taken)
        idle = [lane for lane in self.lanes if lane.task is None and lane.is_up]
        for lane in sorted(idle, key=lambda lane: lane.started_s):  # lanes that share a node exclusively take turns
            lane.rest = None
            if self._terms.exclusive_node and lane.place.node.node_id in taken:
                continue
            answer = agenda.next(now_s, lane.place.lane, skip_gap=self.skip_rest)
            goes_on = goes_on or answer is not None
            if hasattr(answer, "until_s"):
                lane.rest = answer
            elif answer is not None:
                taken.add(lane.place.node.node_id)
                lane.start(task_for(answer), *map(task_for, self._further(agenda, lane)))
        self.skip_rest = False
        return goes_on or (not self._cancelled and self._roster.may_grow(now_s))

    def _further(self, agenda: Agenda, lane: LaneState) -> Iterator[Any]:
        """Yield what a lane is given together with its next task."""
        for _ in range(1, 1 if self._terms.exclusive_node else agenda.at_once()):
            answer = agenda.next(time.monotonic(), lane.place.lane)
            if answer is None or hasattr(answer, "until_s"):
                return
            yield answer

    def _answers(self) -> Iterator[Outcome]:
        """Wait shortly for calls that end, and take what they brought."""
        calls = {call: lane for lane in self.lanes for call in lane.calls()}
        if not calls:
            time.sleep(self._patience_s())
            return
        for call in ray.wait(list(calls), timeout=self._patience_s())[0]:
            lane = calls[call]
            if call == lane.running:
                yield from self._ended(lane)
            elif call == lane.coming:
                self._roster.arrived(lane)
            else:
                lane.take_answer()

    def _patience_s(self) -> float:
        """Until the next look, or until a lane's rest ends."""
        now_s = time.monotonic()
        ends_s = [lane.rest.until_s - now_s for lane in self.lanes if lane.rest is not None]
        return min([POLL_S, *(max(0.001, one) for one in ends_s if one > 0.0)])  # one that is over waits for the others

    def _ended(self, lane: LaneState) -> Iterator[Outcome]:
        """Take the outcomes of what a lane was ordered."""
        try:
            outcomes: list[Outcome] = ray.get(lane.running)
        except RayTaskError as error:
            raise as_ours(error) from error
        except ActorUnavailableError:
            lane.running = None  # the worker may live and be at it: it is asked again until it owes too much
        except OutOfMemoryError as error:  # Ray's own monitor ended the worker, because the node was nearly full
            lost = self._roster.replace(lane, first_line(error))
            yield from (replace(one, failure_class="oom_host") if one.failure_class == "infra" else one for one in lost)
        except RayError as error:
            if lane.ended_as is not None:
                yield from self._ended_inside(lane)
            else:
                yield from self._roster.replace(lane, f"the worker was lost: {first_line(error)}")
        else:
            lane.end()
            yield from outcomes

    def _ended_inside(self, lane: LaneState) -> Iterator[Outcome]:
        """Take back a task that was ended with its worker, and what was ordered with it.

        Another worker is started, unless nothing begins any more.
        """
        assert lane.task is not None
        killed, ended_s = lane.ended_as, time.monotonic() - lane.started_s
        limit = (
            f"the limit of {lane.task.timeout_s:g} s was reached" if killed == "timeout" else "the study was stopped"
        )
        why = f"killed after {ended_s:.1f} s with its worker: {limit}"
        for outcome in self._roster.replace(lane, why, silent=self._cancelled):
            was_lost = outcome.failure_class == "infra" and not outcome.is_given_back
            yield replace(outcome, failure_class=killed, duration_s=ended_s, lane_fault=None) if was_lost else outcome

    def _hold_inline(self, lane: LaneState, now_s: float) -> Iterator[Outcome]:
        """Hold a task inside its worker to its limit, and to its end once that is wanted."""
        if now_s < lane.limit_s and not self._cancelled:
            return
        if lane.running is not None and lane.end_inside("cancelled" if self._cancelled else "timeout", now_s):
            yield from self._ended_inside(lane)

    def _look(self, now_s: float) -> Iterator[Outcome]:
        """Question busy workers, replace silent ones, see which nodes have gone or come."""
        passed_s = min(now_s - self._looked_s, 1.0)  # a driver that was stopped for a minute waits anew for answers
        self._looked_s = now_s
        for lane in [lane for lane in self.lanes if lane.task is not None]:
            lane.ask(now_s, passed_s)
            if self._inline:
                yield from self._hold_inline(lane, now_s)
            if lane.task is None:
                continue
            if lane.silent_s > SILENCE_S:
                yield from self._roster.replace(lane, f"the worker has not answered for {SILENCE_S:.0f} s", silent=True)
            elif (
                lane.task is not None
                and lane.task.timeout_s
                and now_s > lane.started_s + lane.task.timeout_s + self._grace_s
            ):
                yield from self._roster.replace(lane, "the worker did not answer after its task's limit", silent=True)
        self._roster.care(now_s)
        if now_s - self._surveyed_s >= SURVEY_S:
            self._surveyed_s = now_s
            yield from self._roster.survey()
