"""Which task next on which lane, and when: order, gaps, attempts, fail-fast. Pure: no Ray, no clock of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from joulegrid.actors.result import Outcome
from joulegrid.jobs.study import ExecutionConfig

INFRA_ATTEMPTS = 3
"""How often a task is tried again when worker, node or store failed; the thing measured had no part in that."""


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


@dataclass
class Schedule:
    """The visits that are left. `next` hands one out, `record` takes its outcome back."""

    order: Iterator[tuple[int, int]]
    execution: ExecutionConfig
    finished: frozenset[tuple[int, int]] = frozenset()
    attempts: dict[tuple[int, int], int] = field(default_factory=dict)
    """Attempts already on record for a visit; the next one counts on from there."""
    stopped: str | None = None
    """Why nothing more is handed out."""
    _again: deque[Visit] = field(default_factory=deque)
    _infra: dict[tuple[int, int], int] = field(default_factory=dict)
    _last: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    _upcoming: Visit | None = None

    def next(self, now_s: float, lane: str) -> Visit | Rest | None:
        """Return the lane's next visit, how long it must rest first, or `None` when nothing is left to hand out."""
        visit = self._peek()
        if visit is None:
            return None
        rest = self._rest(visit, lane)
        if rest is not None and rest.until_s > now_s:
            return rest
        self._upcoming = None
        return visit

    def record(self, outcome: Outcome, now_s: float) -> bool:
        """Take an outcome; return whether it is final (an infrastructure fault is tried again)."""
        at = (outcome.index, outcome.cycle)
        self._last[outcome.lane] = (*at, now_s)
        if outcome.failure_class == "infra":
            self._infra[at] = self._infra.get(at, 0) + 1
            if self._infra[at] < INFRA_ATTEMPTS:
                self._again.append(Visit(*at, outcome.attempt + 1))
                return False
        if outcome.status == "failed" and self.execution.fail_fast and self.stopped is None:
            self.stopped = f"fail_fast: {outcome.task_id} failed"
        return True

    def _peek(self) -> Visit | None:
        if self.stopped is not None:
            return None
        if self._upcoming is None:
            self._upcoming = self._again.popleft() if self._again else self._following()
        return self._upcoming

    def _following(self) -> Visit | None:
        for at in self.order:
            if at not in self.finished:
                return Visit(*at, self.attempts.get(at, 0))
        return None

    def _rest(self, visit: Visit, lane: str) -> Rest | None:
        last = self._last.get(lane)
        if last is None:
            return None
        index, cycle, ended_s = last
        gap_s, why = gap(self.execution, (index, cycle), (visit.index, visit.cycle))
        return Rest(ended_s + gap_s, why) if gap_s else None


def gap(execution: ExecutionConfig, before: tuple[int, int], after: tuple[int, int]) -> tuple[float, str]:
    """Return the seconds that a lane rests between two visits (experiment, cycle), and what they are called."""
    between = execution.config_gap_seconds if after[0] != before[0] else 0.0
    across = execution.cycle_gap_seconds if after[1] != before[1] else 0.0
    return max(between, across), "cycle gap" if across >= between else "gap"
