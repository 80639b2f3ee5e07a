"""The studies that are timed: scripts that do nothing, or nearly so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from joulegrid.actors.result import Outcome
from joulegrid.jobs.driver import Options, drive
from joulegrid.jobs.load import make_study
from joulegrid.jobs.opening import Choice
from joulegrid.jobs.plan import Plan
from joulegrid.jobs.progress import Quiet
from joulegrid.jobs.run import Run

NO_OP = "x = 0\ndef main():\n    return {'x': x}\n"
PRINTING = "x = 0\nprint(sum(range(1000)) + x)\n"
WARM_UP = 20


class Stopwatch(Quiet):
    """Times the tasks after the first few, in which the lanes come to speed."""

    def __init__(self, warm_up: int = WARM_UP) -> None:
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


def study_of(folder: Path, n_tasks: int, isolation: str, source: str = NO_OP) -> dict[str, Any]:
    """Return a study of `n_tasks` different points of one script; its runs go into the folder."""
    script = folder / "no_op.py"
    script.write_text(source)
    return {
        "study_name": "engine",
        "workload": "script",
        "script": {"path": str(script)},
        "sweep": {"script.globals.x": list(range(n_tasks))},
        "resources": {"cpus": 1},
        "execution": {"isolation": isolation},
        "output": str(folder),
    }


def tasks_per_second(folder: Path, n_tasks: int, isolation: str, source: str = NO_OP) -> float:
    """Run such a study against the present Ray session."""
    study = make_study(study_of(folder, n_tasks + WARM_UP, isolation, source))
    watch = Stopwatch()
    drive(study, Plan(study), Options(display=watch, choice=Choice(fresh=True), report=False))
    return watch.per_second
