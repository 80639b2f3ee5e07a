"""The studies that are timed: scripts that do nothing, or nearly so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.stopwatch import Stopwatch
from joulegrid.jobs.loop.continuing import Choice
from joulegrid.jobs.loop.driver import Options, drive
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.study.load import make_study

NO_OP = "x = 0\ndef main():\n    return {'x': x}\n"
PRINTING = "x = 0\nprint(sum(range(1000)) + x)\n"
WARM_UP = 20


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
    watch = Stopwatch(WARM_UP)
    drive(study, Plan(study), Options(display=watch, choice=Choice(fresh=True), report=False))
    return watch.per_second
