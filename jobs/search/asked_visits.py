"""The visits of a search: one stream for all lanes. Where it is empty the searcher is asked.

All cycles of an experiment are handed out before more is asked, and the searcher is told when the last of them ended.
A searcher that never listens is asked for a few experiments at once, because each ask costs a durable write.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from joulegrid.errors import UsageError
from joulegrid.jobs.loop.run import Run
from joulegrid.jobs.loop.schedule import Rest
from joulegrid.jobs.loop.streams import FIRST_BLOCK, LARGEST_BLOCK
from joulegrid.jobs.search.asking import Ending, Search, asks_of, ended_event, has_ended, nothing_to_run
from joulegrid.jobs.search.search import Searcher, Wait
from joulegrid.jobs.search.telling import ending_of, endings_of
from joulegrid.jobs.state.states import At

WAITS = "the searcher waits for what runs"


@dataclass
class AskedVisits:
    """Hands out the visits of a search and tells its searcher of the endings."""

    run: Run
    search: Search
    _queue: deque[At] = field(default_factory=deque)
    _open: set[int] = field(default_factory=set)
    """Experiments that the searcher has not been told of."""
    _waits: bool = False
    _block: int = 1

    @classmethod
    def of(cls, run: Run, searcher: Searcher) -> AskedVisits:
        """Begin a search, or go on with that of the run: its log of asks is told to the searcher first.

        Raises:
            UsageError: when the searcher proposes nothing that can be run.
        """
        plan = run.asked_plan
        assert plan is not None
        log = run.states.asked
        search = Search(plan, searcher, lambda asked: run.ledger.asked(asked.event()))
        visits = cls(run, search)
        if any(True for _ in asks_of(log)):
            search.restore(list(log), {} if search.is_deaf else endings_of(run))
        visits._resume()
        if not len(plan):
            visits._ask()
        if not len(plan):
            raise UsageError(nothing_to_run(search))
        return visits

    def take(self, lane: str) -> At | Rest | None:
        """Return the next visit, a rest where the searcher wants to be told first, or `None` at the end."""
        if not self._queue:
            self._ask()
        if self._queue:
            return self._queue.popleft()
        return None if self.search.ended is not None else Rest(0.0, WAITS)

    def ended(self, index: int) -> None:
        """Take note that a task of an experiment has ended; after its last cycle the searcher is told."""
        if index not in self._open:
            return
        left = any(self.run.states.status(at) in ("pending", "running") for at in self._cycles(index))
        ending = None if left else ending_of(self.run, index, with_numbers=not self.search.is_deaf)
        if ending is not None:
            self._open.discard(index)
            self.search.told(index, ending)
            self._waits = False

    def _resume(self) -> None:
        """Take up what earlier starts asked for and did not finish."""
        visits = (at for index in range(len(self.run.plan)) for at in self._cycles(index))
        left = [at for at in visits if not self.run.states.is_final(at)]
        if left:
            self.run.ledger.reserve(left)
            self._queue.extend(left)
            self._open.update(index for index, _ in left)
        for index in range(len(self.run.plan)) if self.search.is_deaf else ():
            if index not in self._open:
                self.search.told(index, Ending())

    def _ask(self) -> None:
        """Ask for the next experiments and reserve their visits; what was asked is committed by the same write."""
        found: list[At] = []
        while len(found) < self._block and self.search.ended is None and not self._waits:
            index = self.search.next_index()
            if isinstance(index, Wait):
                self._waits = True
            elif index is not None:
                self._open.add(index)
                found += self._cycles(index)
        if found:
            self.run.ledger.reserve(found)
            self.run.record_asked(found)
            self._queue.extend(found)
        if self.search.is_deaf:
            self._block = min(LARGEST_BLOCK, max(FIRST_BLOCK, self._block * 2))
        if self.search.ended is not None and not has_ended(self.run.states.asked):
            self.run.ledger.asked(ended_event(self.search.ended, self.search.plan.limit))

    def _cycles(self, index: int) -> list[At]:
        return [(index, cycle) for cycle in range(self.run.study.execution.n_cycles)]
