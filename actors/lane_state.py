"""One lane as the driver sees it: its worker's handle, what it does, and the calls to it that are under way."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import ray
from ray.exceptions import RayError

from joulegrid.actors.placement import Place
from joulegrid.actors.result import Task
from joulegrid.jsontypes import Json

HELD_S = 5.0
"""After so long without an answer a worker is killed from outside: its task holds the interpreter."""
PROGRESS_S = 1.0
"""A running task is asked how far it is at most once in so many seconds; shorter tasks are never asked."""


class Rests(Protocol):
    """What a schedule answers where a lane has to wait."""

    until_s: float
    why: str


@dataclass(eq=False)
class LaneState:
    """What the driver knows of one lane. Seconds are of this process's monotonic clock."""

    place: Place
    sampler: Any
    actor: Any = None
    coming: Any = None
    """The call that brings the worker up, while it has not been answered."""
    came_s: float = 0.0
    """Since when it has been coming."""
    again_s: float = 0.0
    """When a worker is started next, while there is none."""
    failures: int = 0
    """How often in a row its worker did not come up."""
    lost_s: float | None = None
    """When a worker of this lane was lost; `None` on a lane that was never up."""
    expected_s: float = 0.0
    """Until when the end of the run waits for its new worker."""
    facts: dict[str, Json] = field(default_factory=dict)
    tasks: tuple[Task, ...] = ()
    """What the worker was ordered to run, one after the other: one task, or several tiny ones."""
    order: int = 0
    """Number of that order."""
    running: Any = None
    """The call that runs the tasks; `None` while it is unknown whether the worker still has them."""
    started_s: float = 0.0
    rest: Rests | None = None
    progress: dict[str, Json] | None = None
    question: Any = None
    """The call for progress that is under way."""
    asked_s: float = 0.0
    ending: Any = None
    """The call that is to end a task inside its worker (isolation inline)."""
    ending_s: float = 0.0
    """When that was called for the first time."""
    ended_as: Literal["timeout", "cancelled"] | None = None
    """What a worker's death means from then on."""
    silent_s: float = 0.0
    """How long the worker has owed an answer; time in which the driver itself stood still does not count."""

    @property
    def task(self) -> Task | None:
        """The task that runs, of several the first."""
        return self.tasks[0] if self.tasks else None

    @property
    def is_up(self) -> bool:
        """Whether the lane can take tasks."""
        return self.coming is None and self.actor is not None

    def calls(self) -> list[Any]:
        """Return the calls that have not been answered."""
        return [call for call in (self.coming, self.running, self.question) if call is not None]

    @property
    def limit_s(self) -> float:
        """When the running task must have been killed."""
        timeout_s = self.task.timeout_s if self.task is not None else None
        return float("inf") if timeout_s is None else self.started_s + timeout_s

    def start(self, *tasks: Task) -> None:
        """Give the worker its next task, or several tiny ones."""
        self.tasks, self.started_s, self.progress, self.rest = tasks, time.monotonic(), None, None
        self.question, self.asked_s, self.silent_s = None, self.started_s, 0.0
        self.ending, self.ended_as = None, None
        self.order += 1
        self.running = self.actor.run.remote(tasks, self.order)

    def end(self) -> tuple[Task, ...]:
        """Take the tasks back."""
        tasks, self.tasks, self.running, self.question, self.silent_s = self.tasks, (), None, None, 0.0
        assert tasks
        return tasks

    def end_inside(self, why: Literal["timeout", "cancelled"], now_s: float) -> bool:
        """Call for the end of a task inside its worker, again where that was answered and the task goes on.

        Returns whether the worker owes the answer for too long: its interpreter is held by the task.
        """
        if self.ended_as is None:
            self.ended_as, self.ending_s = why, now_s
        if self.ending is not None and ray.wait([self.ending], timeout=0)[0]:
            self.ending = None
            self.ending_s = now_s
        if self.ending is None:
            self.ending = (self.actor.cancel if why == "cancelled" else self.actor.hold_to_limit).remote()
        return now_s - self.ending_s > HELD_S

    def ask(self, now_s: float, passed_s: float) -> None:
        """Ask a busy worker how far it is, and count how long it has owed an answer."""
        if self.question is not None or self.running is None:
            self.silent_s += passed_s
        if now_s - self.asked_s < PROGRESS_S:
            return
        if self.question is None:
            self.question, self.asked_s = self.actor.progress.remote(), now_s
        if self.running is None:  # a worker that has this order already does not begin anew
            self.running = self.actor.run.remote(self.tasks, self.order)

    def take_answer(self) -> None:
        """Take the answer to the question: who answers lives."""
        call, self.question = self.question, None
        with contextlib.suppress(RayError):
            self.progress = ray.get(call) or self.progress
            self.silent_s = 0.0
