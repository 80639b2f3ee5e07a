"""A study whose tasks run inside the workers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from joulegrid.cluster.storage import open_store
from joulegrid.errors import StudyDrained
from joulegrid.jobs.loop.drain import FLUSH_S
from joulegrid.jobs.state.ledger import read_states
from tests.faults.processes import wait_until
from tests.jobs.studies import run, study_of

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_here")]


def test_a_study_runs_inline(tmp_path: Path) -> None:
    done = run(study_of(tmp_path, xs=[1, 2], execution={"isolation": "inline"}))
    results = list(done.iter_results())
    assert sorted((result.metrics or {})["double"] for result in results) == [2, 4]
    assert {result.lane.isolation for result in results} == {"inline"}
    assert {result.timeseries for result in results} == {None}


ENDLESS = """
import ctypes, os, pathlib, subprocess, time
x = 0
def main():
    if x == 2:
        child = subprocess.Popen(["sleep", "600"])
        pathlib.Path({pids!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
        ctypes.{library}(None).sleep(600)
    return {{"pid": os.getpid()}}
"""


def endless(folder: Path, library: str = "CDLL") -> str:
    return ENDLESS.format(pids=str(folder / "pids"), library=library)


def nobody_left(folder: Path) -> None:
    """Assert that neither the worker nor what its task started is there any more."""
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() and not is_zombie(pid) for pid in pids))


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("library", ["CDLL", "PyDLL"], ids=["waiting", "holding the interpreter"])
def test_a_task_at_its_limit_dies_with_its_worker_and_the_others_go_on(tmp_path: Path, library: str) -> None:
    execution = {"isolation": "inline", "experiment_timeout_seconds": 1.0}
    study = study_of(tmp_path, endless(tmp_path, library), [1, 2, 3, 4], execution=execution)
    done = run(study)
    assert (done.counts.done, done.counts.failed) == (3, 1)
    assert done.failures_by_class == {"timeout": 1}
    assert "the limit of 1 s was reached" in done.failures[0].message
    assert done.failures[0].attempt == 0
    nobody_left(tmp_path)


def test_a_drain_ends_a_task_inside_its_worker_at_the_deadline_and_it_is_pending_again(tmp_path: Path) -> None:
    study = study_of(tmp_path, endless(tmp_path), [1, 2, 3], execution={"isolation": "inline"})
    os.environ["JOULEGRID_DEADLINE"] = str(
        time.time() + FLUSH_S + 20.0
    )  # time for Ray and the first task, on a busy machine too
    with pytest.raises(StudyDrained):
        run(study)
    assert time.time() < float(os.environ["JOULEGRID_DEADLINE"])
    root = open_store(study["output"])
    (name,) = root.folders()
    states = read_states(root.child(name))
    assert states.counts(3, 1) == {"n_tasks": 3, "done": 1, "failed": 0, "running": 0, "skipped": 0, "pending": 2}
    nobody_left(tmp_path)
