"""One driver's turn at a run: the loop. Policy is the schedule's, mechanism the pool's, memory the ledger's."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

from joulegrid.actors.outcome import UNKEPT, Outcome
from joulegrid.actors.result import Task
from joulegrid.cluster.storage import StoreError
from joulegrid.jobs.carbon.spending import Spending
from joulegrid.jobs.loop.drain import Drain
from joulegrid.jobs.loop.environments import admit
from joulegrid.jobs.loop.fitting import Fitting
from joulegrid.jobs.loop.run import Run
from joulegrid.jobs.loop.schedule import Schedule, Visit, may_bundle
from joulegrid.jobs.loop.streams import Streams
from joulegrid.jobs.search.asked_visits import AskedVisits
from joulegrid.jobs.state.states import At
from joulegrid.jobs.status.metrics import Metrics, NoMetrics
from joulegrid.jobs.status.progress import Display

if TYPE_CHECKING:
    from joulegrid.actors.pool import Pool

MEASURE_S = 0.2
"""Between two looks of the metrics: ticks come with every outcome, hundreds a second for tiny tasks."""


class Turn:
    """What this driver does with its run until nothing is left, or something stops it."""

    def __init__(self, run: Run, pool: Pool, drain: Drain, display: Display, asked: AskedVisits | None = None) -> None:
        self._run, self._pool, self._drain, self._display = run, pool, drain, display
        self.misfits: dict[tuple[int | None, int | None], str] = {}
        """(gpus, cpus) that no lane has, and why; experiments that ask for it are `unschedulable`."""
        lanes = [lane.place.lane for lane in pool.lanes]
        self._admitted, self._asked = {lane.place.lane for lane in pool.lanes if lane.is_up}, asked
        visits = asked or Streams(run.order, lanes, run.states.is_final, run.ledger.reserve)
        self.schedule = Schedule(
            Fitting(visits, self._misfit, self._refuse, lambda: self.schedule.stopped is not None),
            run.study.execution,
            run.states.attempts,
            self._family,
            deadline_s=drain.over_s,
        )
        self.schedule.breakers.expected = set(lanes)
        # A searcher wants to know each outcome before it is asked again.
        self.schedule.bundles = asked is None and may_bundle(run.study.execution)
        self._spending: Spending | None = None
        self.metrics: Metrics = NoMetrics()
        """Told of everything that the display is told of."""
        self._measured_s = 0.0
        self._drained: str | None = None
        self._cut_short = False

    def keep(self, spending: Spending) -> None:
        """Stop when this budget is spent."""
        self._spending, self.schedule.budget = spending, spending.budget

    def go(self) -> None:
        """Run tasks until nothing is left to hand out and nothing runs."""
        self._measure()
        with self._display.running(self._run):
            for outcome in self._pool.run(self.schedule, self._task_for, self._tick):
                self._take(outcome)
        self._heed_drain()  # the loop may have ended before another look
        if self.schedule.over_budget:
            self._run.ledger.note(f"stopped: {self.schedule.stopped}")
        self._take_notes()
        if self.schedule.gave_up and not self._run.is_finished():
            self._run.ledger.gave_up(self.schedule.stopped or "")
        self._measure()

    def state(self) -> str:
        """Return the state in which the run is left."""
        if self._run.is_finished():
            return "done"
        if self.schedule.over_budget:
            return "budget_spent"
        return "drained" if self._drained is not None else "stopped"

    @property
    def pilot_is_over(self) -> bool:
        """Whether nothing but the decision of `n_cycles: auto` is missing; a study that was stopped decides nothing."""
        counts = self._run.counts()
        ended = counts["done"] + counts["failed"] == counts["n_tasks"]
        return self._run.awaits_decision and ended and self.schedule.stopped is None and self._drained is None

    def _take(self, outcome: Outcome) -> None:
        self._spend(outcome)
        verdict = self.schedule.record(outcome, time.monotonic())
        if verdict == "final" and (outcome.message or "").startswith(
            UNKEPT
        ):  # no failure of the task: it stays pending
            self._run.record_open((outcome.index, outcome.cycle), outcome.attempt + 1)
            raise StoreError(f"{outcome.lane}: {outcome.message}")
        if verdict in ("final", "again"):
            self.metrics.ended(outcome, final=verdict == "final")
        if verdict == "final":
            self._run.record_ended(outcome)
            self._display.ended(outcome, self._run.point(outcome.index).label)
            self._tell(outcome.index)
        else:
            self._run.record_open((outcome.index, outcome.cycle), outcome.attempt + 1)
        if verdict == "again":
            self._display.say(f"{outcome.task_id} on {outcome.lane}: {outcome.failure_class}, to be tried again")
        self._take_notes()
        if self.schedule.stopped is not None and self._run.study.execution.fail_fast:
            self._say_why()
            self._cut()

    def _say_why(self) -> None:
        """A run that fail_fast stopped says so wherever it is looked at."""
        if not self._cut_short and self._drained is None:
            why = f"{self.schedule.stopped}; nothing more was begun. The same study started again goes on"
            self._run.ledger.note(why)
            self._display.say(why)

    def _spend(self, outcome: Outcome) -> None:
        if self._spending is None:
            return
        was_over = self.schedule.budget.over is not None
        self._spending.take(outcome)
        self._run.budget = self._spending.told()
        if self.schedule.budget.over is not None and not was_over:
            self._display.say(f"{self.schedule.budget.over}; nothing more is begun")

    def _task_for(self, visit: Visit) -> Task:
        task = self._run.task(visit.index, visit.cycle, visit.attempt)
        self._run.record_started(task)
        return task

    def _tick(self) -> None:
        self._run.keep_alive()
        self._pool.skip_rest = self._display.tick(self._pool.lanes) or self._pool.skip_rest
        self._take_notes()
        self._follow_lanes()
        self._heed_drain()
        if time.monotonic() - self._measured_s >= MEASURE_S:
            self._measure()

    def _measure(self) -> None:
        self._measured_s = time.monotonic()
        self.metrics.lanes(self._pool.lanes)
        self.metrics.counts(self._run.counts())
        self.metrics.time_left(self._run.time_left_s())
        self.metrics.breakers(self.schedule.breakers.unclosed())

    def _follow_lanes(self) -> None:
        """Lanes that are gone leave their work to the others; the environment of new ones is taken note of."""
        lanes = {lane.place.lane: lane for lane in self._pool.lanes}
        self.schedule.breakers.expected = set(lanes)
        for gone in self.schedule.breakers.lanes() - lanes.keys():
            self.schedule.drop(gone)
        for name in lanes.keys() - self._admitted:
            if lanes[name].is_up:
                self._admitted.add(name)
                admit(self._run, [lanes[name].facts["environment"]], allow_drift=True)

    def _misfit(self, index: int) -> str | None:
        if not self.misfits:
            return None
        asked = self._run.point(index).config.resources
        return self.misfits.get((asked.gpus, asked.cpus))

    def _refuse(self, at: At, why: str) -> None:
        """End a task that no lane can serve."""
        task = self._run.task(*at, self._run.states.next_attempt(at))
        self._take(replace(Outcome.lost(task, "", why), failure_class="unschedulable"))

    def _heed_drain(self) -> None:
        asked = self._drain.asked()
        if self._drained is None and (asked is not None or self.schedule.out_of_time):
            self._drained = asked or "what is left of the time is shorter than a task"
            self.schedule.stopped = self.schedule.stopped or self._drained
            self._display.say(f"draining: {self._drained}; nothing more is begun")
        if self._drained is not None and self._drain.is_over():
            self._cut()

    def _cut(self) -> None:
        """End what runs; its tasks are pending again."""
        if not self._cut_short:
            self._cut_short = True
            self._pool.cancel()

    def _tell(self, index: int) -> None:
        if self._asked is not None:
            self._asked.ended(index)

    def _take_notes(self) -> None:
        for skip in self.schedule.skipped:
            visit = skip.visit
            self._run.record_skipped((visit.index, visit.cycle), visit.attempt, skip.why)
            self._tell(visit.index)
        self.schedule.skipped.clear()
        for note in self.schedule.breakers.notes:
            self._run.ledger.note(note)
            self._display.say(note)
        self.schedule.breakers.notes.clear()

    def _family(self, index: int) -> Hashable:
        """Experiments with the same inputs (one model, one script) may break as one."""
        plan = self._run.plan
        varied = [path for path in plan.workload.input_fields if path in plan.varied]
        if not varied:
            return None
        values = self._run.point(index).values
        return ", ".join(str(values.get(path)) for path in varied)
