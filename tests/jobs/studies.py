"""Small script studies for tests, and a way to run them against the session's Ray."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from joulegrid.jobs.loop.continuing import Choice
from joulegrid.jobs.loop.driver import Options, drive
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.study.load import make_study
from joulegrid.jobs.study_result import StudyResult

ADD = "x = 0\ndef main():\n    return {'double': 2 * x}"


TWO_LANES = {"cpus": 1}
"""Of the session's two CPUs one for each lane; without it a study has one lane, which is up in half the time."""


def write_script(folder: Path, source: str = ADD, name: str = "script.py") -> Path:
    """Write a script into a folder."""
    path = folder / name
    path.write_text(textwrap.dedent(source))
    return path


def study_of(folder: Path, source: str = ADD, xs: list[Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a study of a script, swept over its global `x`, whose runs go into `folder`/out."""
    return {
        "study_name": "tiny",
        "workload": "script",
        "script": {"path": str(write_script(folder, source))},
        "sweep": {"script.globals.x": xs if xs is not None else [1, 2, 3]},
        "resources": {"cpus": 2},
        "output": str(folder / "out"),
        **fields,
    }


def run(mapping: dict[str, Any], choice: Choice | None = None, report: bool = False) -> StudyResult:
    """Run a study in this process."""
    study = make_study(mapping)
    return drive(study, Plan(study), Options(choice=choice or Choice(), report=report))
