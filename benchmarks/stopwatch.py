"""Times the tasks of a study from the display's side, for the benchmarks of the engine and of the task overhead."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from joulegrid.actors.outcome import Outcome
from joulegrid.jobs.loop.run import Run
from joulegrid.jobs.status.progress import Quiet


class Stopwatch(Quiet):
    """Runs from the moment when the lanes are up, or from the end of the first few tasks, to the last outcome."""

    def __init__(self, warm_up: int = 0) -> None:
        self.n_timed = -warm_up
        self.seconds = 0.0
        self._began_s = 0.0

    @contextmanager
    def running(self, run: Run) -> Iterator[None]:
        """Start the clock."""
        self._began_s = time.perf_counter()
        yield

    def ended(self, outcome: Outcome, label: str) -> None:
        """Take the time."""
        assert outcome.status == "done", outcome.message
        now_s = time.perf_counter()
        self.n_timed += 1
        if self.n_timed == 0:
            self._began_s = now_s
        self.seconds = now_s - self._began_s

    @property
    def per_second(self) -> float:
        """Tasks per second."""
        return self.n_timed / self.seconds
