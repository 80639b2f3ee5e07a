"""The run's metrics in Prometheus' terms: which there are, what their labels mean, how they are counted."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from joulegrid.actors.result import FailureClass

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from joulegrid.actors.outcome import Outcome
    from joulegrid.jobs.status.metrics import WatchedLane

STATUSES = ("pending", "running", "done", "failed", "skipped")
LANE_STATES = ("busy", "resting", "idle")
BREAKERS = ("lane", "family", "study")
DURATION_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)


class PrometheusMetrics:
    """The metrics of one driver, in a registry of their own: two runs in one process do not mix."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Gauge, disable_created_metrics

        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would be a second series for each counter: the time of its first value
        self.registry = CollectorRegistry()
        self._attempts = AttemptMetrics(self.registry)
        self._lanes = LaneMetrics(self.registry)
        self._tasks = Gauge("joulegrid_tasks", "Tasks of the study by status.", ["status"], registry=self.registry)
        self._left = Gauge(
            "joulegrid_time_left_seconds",
            "Estimated time until the last task ends; NaN before the first end.",
            registry=self.registry,
        )
        self._breakers = Gauge(
            "joulegrid_breakers_open",
            "Circuit breakers that are open, probing or have given up.",
            ["kind"],
            registry=self.registry,
        )
        self._left.set(math.nan)
        self.breakers({})

    def counts(self, counts: Mapping[str, int]) -> None:
        """Show the tasks by status."""
        for status in STATUSES:
            self._tasks.labels(status).set(counts.get(status, 0))

    def time_left(self, seconds: float | None) -> None:
        """Show how long the rest will take."""
        self._left.set(math.nan if seconds is None else seconds)

    def lanes(self, lanes: Sequence[WatchedLane]) -> None:
        """Show what the lanes do, and count the time that they did it."""
        self._lanes.look(lanes, time.monotonic())

    def ended(self, outcome: Outcome, *, final: bool = True) -> None:
        """Count an attempt that has ended."""
        self._lanes.ended(outcome.lane, outcome.duration_s)
        self._attempts.ended(outcome, final=final)

    def breakers(self, unclosed: Mapping[str, int]) -> None:
        """Show the circuit breakers that are not closed."""
        for kind in BREAKERS:
            self._breakers.labels(kind).set(unclosed.get(kind, 0))


class AttemptMetrics:
    """What attempts came to: failures and retries by class, durations, joules by kind."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Histogram

        by_class = ["failure_class"]
        self._failures = Counter("joulegrid_task_failures", "Tasks that failed for good.", by_class, registry=registry)
        self._retries = Counter(
            "joulegrid_task_retries", "Attempts after which a task is tried again.", by_class, registry=registry
        )
        self._durations = Histogram(
            "joulegrid_task_duration_seconds",
            "From the order to start a task's process until its end.",
            ["status"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self._joules = Counter(
            "joulegrid_energy_joules",
            "Joules in the headline windows of done tasks; kinds are never to be added up.",
            ["provenance", "source", "scope"],
            registry=registry,
        )
        self._unknown = Counter(
            "joulegrid_energy_unknown_tasks", "Done tasks whose joules are unknown.", registry=registry
        )
        for failure_class in get_args(FailureClass):  # a rate needs a first value; kinds of joules are not known yet
            self._failures.labels(failure_class)
            self._retries.labels(failure_class)

    def ended(self, outcome: Outcome, *, final: bool) -> None:
        """Count an attempt; one that is not final is a retry and nothing else."""
        if not final:
            self._retries.labels(str(outcome.failure_class)).inc()
            return
        self._durations.labels(outcome.status).observe(outcome.duration_s)
        if outcome.status == "failed":
            self._failures.labels(str(outcome.failure_class)).inc()
        elif outcome.energy_j is None:
            self._unknown.inc()
        else:
            self._joules.labels(str(outcome.provenance), str(outcome.source), str(outcome.scope)).inc(outcome.energy_j)


class LaneMetrics:
    """What the lanes do, and for how long they did it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Gauge

        lane = ["node", "lane", "device"]
        self._times: dict[str, LaneTime] = {}
        self._states = Gauge("joulegrid_lanes", "Lanes by what they do now.", ["state"], registry=registry)
        self._busy = Counter("joulegrid_lane_busy_seconds", "Time in which a lane had a task.", lane, registry=registry)
        self._resting = Counter(
            "joulegrid_lane_resting_seconds", "Time in which a lane kept a gap or cooled.", lane, registry=registry
        )
        for state in LANE_STATES:
            self._states.labels(state)

    def look(self, lanes: Sequence[WatchedLane], now_s: float) -> None:
        """Take what the lanes do now."""
        states = [state_of(lane) for lane in lanes]
        for state in LANE_STATES:
            self._states.labels(state).set(states.count(state))
        for lane in lanes:
            place, times = lane.place, self._times.setdefault(lane.place.lane, LaneTime(now_s))
            busy_s, resting_s = times.look(lane, now_s)
            labels = (place.node.name, place.lane.rpartition("/")[2], "cuda" if place.gpus else "cpu")
            self._busy.labels(*labels).inc(busy_s)
            self._resting.labels(*labels).inc(resting_s)

    def ended(self, lane: str, duration_s: float) -> None:
        """Take a task that has ended on a lane."""
        if lane in self._times:
            self._times[lane].ended(duration_s)


@dataclass(slots=True)
class LaneTime:
    """How long one lane has been busy and has rested.

    Looks alone would miss tasks that are shorter than the time between two of them (0.2 s), so an ended task
    counts with the duration that its worker measured.
    """

    seen_s: float
    ended_s: float = 0.0
    busy_s: float = 0.0
    rests: bool = False

    def look(self, lane: WatchedLane, now_s: float) -> tuple[float, float]:
        """Return the seconds of work and of rest that have come to light since the last look; never below zero.

        A rest counts when the lane was at it at both ends of the time between two looks.
        """
        running_s = now_s - lane.started_s if lane.task is not None else 0.0
        busy_s = max(0.0, self.ended_s + running_s - self.busy_s)
        rests = state_of(lane) == "resting"
        resting_s = now_s - self.seen_s if rests and self.rests else 0.0
        self.busy_s, self.seen_s, self.rests = self.busy_s + busy_s, now_s, rests
        return busy_s, resting_s

    def ended(self, duration_s: float) -> None:
        """Take a task that has ended; what looks have counted of it already stays counted."""
        self.ended_s = max(self.busy_s, self.ended_s + duration_s)


def state_of(lane: WatchedLane) -> str:
    """Return what a lane does now, one of `LANE_STATES`."""
    if lane.task is not None:
        return "busy"
    return "idle" if lane.rest is None else "resting"
