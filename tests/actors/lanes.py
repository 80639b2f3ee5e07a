"""A lane without Ray for tests: real processes, a real folder, a real recorder."""

from __future__ import annotations

import os
import secrets
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from joulegrid.actors.lane import Lane
from joulegrid.actors.outcome import Outcome
from joulegrid.actors.record import LaneFacts, RunFacts
from joulegrid.actors.result import ExperimentResult, Task
from joulegrid.cluster.environment import capture
from joulegrid.cluster.folder import FolderStore
from joulegrid.cluster.power.sampler.recorder import Recorder
from joulegrid.cluster.power.sensors.model import CoreWatts
from joulegrid.cluster.power.sensors.sources import PowerConfig


@contextmanager
def open_lane(
    folder: Path, isolation: Literal["zygote", "spawn", "inline"] = "zygote", power: Literal["model", "none"] = "model"
) -> Iterator[Lane]:
    """Open a CPU lane whose store is `folder`."""
    offered = os.sched_getaffinity(0)
    recorder = Recorder(PowerConfig(source=power))
    recorder.start()
    run = RunFacts("tests", "tests_run", (), isolation, None, watts_per_core=CoreWatts())
    facts = LaneFacts(
        "here/cpu0", "here", capture(), cpus=(0,), power_sources=tuple(recorder.sources), marks=recorder.marks
    )
    lane = Lane(facts, run, FolderStore(folder), recorder)
    try:
        lane.prepare()
        yield lane
    finally:
        lane.close()
        recorder.stop()
        os.sched_setaffinity(0, offered)  # a task in this process has pinned it


def script_task(
    folder: Path, source: str, *, timeout_s: float | None = 20.0, name: str = "task", cycle: int = 0
) -> Task:
    """Write a script and return the task that runs it."""
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(source))
    experiment = {"workload": "script", "script": {"path": str(path)}}
    return Task(0, cycle, 0, secrets.token_hex(8), name, {}, experiment, {"script.path": str(path)}, {}, timeout_s)


def result_of(lane: Lane, outcome: Outcome) -> ExperimentResult:
    """Read the result that an outcome points to."""
    return ExperimentResult.model_validate_json(lane.store.get(f"{outcome.path}/result.json"))
