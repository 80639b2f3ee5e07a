"""Which task next on which lane, and when: gaps, retries, breakers, fail-fast, budgets, the time that is left.

Pure: no Ray, no store, no clock of its own.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from joulegrid.actors.outcome import Outcome
from joulegrid.jobs.carbon.budget import Budget
from joulegrid.jobs.loop.breakers import Breakers, is_lane_fault
from joulegrid.jobs.state.states import At
from joulegrid.jobs.study.execution import RETRIES, ExecutionConfig

AVOID_S = 30.0
"""So long another lane has the first claim on a task that failed by its lane's fault."""
SKIPS_AT_ONCE = 1_000
PUT_OFF_LIMIT = 1_000
DURATIONS_KEPT = 1_000
BUNDLES_AFTER = 16
"""So many tasks must have shown how short they are."""
BUNDLE_S = 0.05
LARGEST_BUNDLE = 8
"""A lane is given tasks for `BUNDLE_S` at once, but no more than this: they cannot be given to another meanwhile."""

Verdict = Literal["final", "again", "put_back"]
"""What becomes of a task that has ended: nothing more, another try, or pending as if it had not begun."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A task to be run: the experiment's number, its cycle, and which try this is."""

    index: int
    cycle: int
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Rest:
    """A lane has to wait until this time, in seconds of the caller's clock."""

    until_s: float
    why: str


@dataclass(frozen=True, slots=True)
class Skip:
    """A visit that is left out, and why."""

    visit: Visit
    why: str


class Source(Protocol):
    """Where new visits come from: the streams of a grid, or a searcher."""

    def take(self, lane: str) -> At | Rest | None:
        """Return the lane's next visit, a rest where it is not known yet, or `None` when there will be none."""
        ...


@dataclass(slots=True)
class _Again:
    """A visit that was handed out before, or put off."""

    visit: Visit
    avoid: str | None = None
    """The lane whose fault it was."""
    since_s: float = 0.0
    not_before_s: float = -math.inf


@dataclass
class Schedule:
    """The visits that are left. `next` hands one out, `record` takes its outcome back."""

    source: Source
    execution: ExecutionConfig
    attempts: dict[At, int] = field(default_factory=dict)
    """Attempts already on record for a visit; the next one counts on from there."""
    family_of: Callable[[int], Hashable] = lambda index: None
    """What experiments have in common that may break as one: their model, their script."""
    deadline_s: float = math.inf
    """When the caller's time is up; a task that would not be done by then is not begun."""
    stopped: str | None = None
    """Why nothing more is handed out."""
    skipped: list[Skip] = field(default_factory=list)
    """Visits that were left out and that nobody has taken note of yet."""
    budget: Budget = field(default_factory=Budget)
    """What may be spent and what was; counted by the caller."""
    over_budget: bool = False
    """Whether it was the budget that stopped it."""
    out_of_time: bool = False
    """Whether it was the time that stopped it."""
    bundles: bool = False
    """Whether tiny tasks may be ordered several at once; see `may_bundle`."""
    gave_up: bool = False
    """Whether the rest of the study is skipped, rather than left for later."""
    _again: deque[_Again] = field(default_factory=deque)
    _tries: dict[tuple[At, str], int] = field(default_factory=dict)
    _last: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    _upcoming: dict[str, Visit] = field(default_factory=dict)
    _returned: dict[str, deque[Visit]] = field(default_factory=dict)
    """What lanes were given together with other visits and have not begun."""
    _durations: list[float] = field(default_factory=list)
    breakers: Breakers = field(init=False)

    def __post_init__(self) -> None:
        self.breakers = Breakers(self.execution.circuit_breaker, self.family_of)

    def next(self, now_s: float, lane: str, *, skip_gap: bool = False) -> Visit | Rest | None:
        """Return the lane's next visit, how long it must rest first, or `None` when nothing is left to hand out."""
        if self.stopped is None and self.budget.over is not None:
            self.stopped, self.over_budget = self.budget.over, True
        if now_s + self.expected_s() >= self.deadline_s and self.stopped is None:
            self.stopped, self.out_of_time = "the time that is left is shorter than a task", True
        if self.stopped is not None or self.breakers.is_quarantined(lane):
            return None
        held = self.breakers.hold(lane, now_s)
        if held is not None:
            return Rest(*held)
        for _ in range(PUT_OFF_LIMIT):
            visit = self._peek(now_s, lane)
            if visit is None or isinstance(visit, Rest):
                return visit
            cooled_s = self.breakers.family_wait(visit.index, now_s)
            if cooled_s is None:
                rest = None if skip_gap else self._rest(visit, lane)
                return rest if rest is not None and rest.until_s > now_s else self._hand_out(visit, lane)
            if len(self._again) >= PUT_OFF_LIMIT:
                return Rest(cooled_s, "the family cools down")
            self._again.append(_Again(self._upcoming.pop(lane), not_before_s=cooled_s))
        return Rest(now_s, "looking past a family that cools down")

    def at_once(self) -> int:
        """Return how many visits a lane may be given together: several where they are over before others would care.

        Not where anything stands between two of them: a gap, a gate, a failure that may change what comes next.
        """
        waiting = self._again or self._returned or len(self._durations) < BUNDLES_AFTER
        if not self.bundles or waiting or not self.breakers.is_quiet():
            return 1
        return max(1, min(LARGEST_BUNDLE, int(BUNDLE_S / max(self.expected_s(), BUNDLE_S / LARGEST_BUNDLE))))

    def record(self, outcome: Outcome, now_s: float) -> Verdict:
        """Take an outcome and say what becomes of its task."""
        at = (outcome.index, outcome.cycle)
        if outcome.lane and not outcome.is_given_back:
            self._last[outcome.lane] = (*at, now_s)
        if outcome.failure_class == "cancelled":
            self.breakers.forget(outcome)
            if outcome.is_given_back:
                self._returned.setdefault(outcome.lane, deque()).append(Visit(*at, outcome.attempt + 1))
            self._heed_breakers(outcome.lane)
            return "put_back"
        again = outcome.status == "failed" and self._may_try_again(outcome, now_s)
        self.breakers.record(outcome, now_s, final=not again)
        self._heed_breakers(outcome.lane)
        if again:
            return "again"
        if outcome.status == "done":
            self._remember(outcome.duration_s)
        elif self.execution.fail_fast and self.stopped is None:
            self.stopped = f"fail_fast: {outcome.task_id} failed"
        return "final"

    def expected_s(self) -> float:
        """Return how long a task may well take: the 95th percentile so far; 0 where nothing is known."""
        known = self._durations
        return known[min(len(known) - 1, int(0.95 * len(known)))] if known else 0.0

    def drop(self, lane: str) -> None:
        """Forget a lane that is gone; what it was about to begin is done by the others."""
        self._leave_to_others(lane)
        self.breakers.drop(lane)

    def _leave_to_others(self, lane: str) -> None:
        visit = self._upcoming.pop(lane, None)
        left = [visit] if visit is not None else []
        self._again += [_Again(visit) for visit in [*left, *self._returned.pop(lane, ())]]

    def _heed_breakers(self, lane: str) -> None:
        if self.breakers.is_quarantined(lane):
            self._leave_to_others(lane)
        if self.breakers.over is not None and self.stopped is None:
            self.stopped, self.gave_up = self.breakers.over, True

    def _peek(self, now_s: float, lane: str) -> Visit | Rest | None:
        """The visit that the lane makes next; it is remembered while the lane rests."""
        for _ in range(SKIPS_AT_ONCE):
            found = self._upcoming.pop(lane, None) or self._retry(now_s, lane) or self._following(lane)
            if not isinstance(found, Visit):
                return found if found is not None else self._left_by_others(now_s)
            if not self.breakers.is_given_up(found.index):
                self._upcoming[lane] = found
                return found
            self.skipped.append(Skip(found, "its family was given up after failures in a row"))
        return Rest(now_s, "leaving out what was given up")

    def _left_by_others(self, now_s: float) -> Rest | None:
        """What waits for another lane, or for its family to cool, must not be forgotten while this one asks."""
        return Rest(now_s + 1.0, "what is left waits for another lane, or to cool") if self._again else None

    def _retry(self, now_s: float, lane: str) -> Visit | None:
        alone = self.breakers.n_lanes <= 1
        for again in self._again:
            mine = again.avoid != lane or alone or now_s - again.since_s > AVOID_S
            if mine and again.not_before_s <= now_s:
                self._again.remove(again)
                return again.visit
        return None

    def _following(self, lane: str) -> Visit | Rest | None:
        if returned := self._returned.get(lane):
            visit = returned.popleft()
            if not returned:
                del self._returned[lane]
            return visit
        found = self.source.take(lane)
        return Visit(*found, self.attempts.get(found, 0)) if isinstance(found, tuple) else found

    def _rest(self, visit: Visit, lane: str) -> Rest | None:
        last = self._last.get(lane)
        if last is None:
            return None
        index, cycle, ended_s = last
        gap_s, why = gap(self.execution, (index, cycle), (visit.index, visit.cycle))
        return Rest(ended_s + gap_s, why) if gap_s else None

    def _hand_out(self, visit: Visit, lane: str) -> Visit:
        del self._upcoming[lane]
        self.breakers.begin(lane, (visit.index, visit.cycle))
        return visit

    def _may_try_again(self, outcome: Outcome, now_s: float) -> bool:
        name, at = outcome.failure_class or "", (outcome.index, outcome.cycle)
        tried = self._tries.get((at, name), 0)
        limits = {str(one): most for one, most in {**RETRIES, **self.execution.max_retries}.items()}
        if name == "unschedulable" or tried >= limits.get(name, 0):
            return False
        self._tries[at, name] = tried + 1
        avoid = outcome.lane if is_lane_fault(outcome) else None
        self._again.append(_Again(Visit(*at, outcome.attempt + 1), avoid, now_s))
        return True

    def _remember(self, duration_s: float) -> None:
        """Keep the durations sorted; beyond a limit every second is dropped, which leaves the percentiles."""
        bisect.insort(self._durations, duration_s)
        if len(self._durations) > DURATIONS_KEPT:
            del self._durations[::2]


def may_bundle(execution: ExecutionConfig) -> bool:
    """Whether nothing stands between two tasks of a lane: no gap, no gate, no early end."""
    between = (execution.config_gap_seconds, execution.cycle_gap_seconds, execution.temperature_gate)
    return not execution.fail_fast and not any(between)


def gap(execution: ExecutionConfig, before: At, after: At) -> tuple[float, str]:
    """Return the seconds that a lane rests between two visits (experiment, cycle), and what they are called."""
    between = execution.config_gap_seconds if after[0] != before[0] else 0.0
    across = execution.cycle_gap_seconds if after[1] != before[1] else 0.0
    return max(between, across), "cycle gap" if across >= between else "gap"
