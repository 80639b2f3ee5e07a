"""A study through `joulegrid submit --slurm` on real SLURM nodes: drained, requeued, finished; walltime; exit codes."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulegrid.cluster.slurm import Allocation, BatchJob, batch_file
from joulegrid.cluster.storage import open_store
from joulegrid.jobs.report.run_results import RunResults
from tests.slurm.batch_system import BatchSystem

pytestmark = [pytest.mark.slurm, pytest.mark.cluster, pytest.mark.slow]

N_TASKS = 16
SCRIPT = """
import os, socket, time
x = 0

def main():
    time.sleep(0.05 if os.environ.get("SLURM_RESTART_COUNT") else 1)
    return {"host": socket.gethostname(), "passes": int(os.environ.get("SLURM_RESTART_COUNT") or 0)}
"""
STUDY = f"""
study_name: two-nodes
workload: script
script: {{path: work.py}}
sweep: {{script.globals.x: {list(range(N_TASKS))}}}
resources: {{cpus: 1}}
"""
PRETENDED_RAY = """#!/bin/bash
while [ "$1" != -- ]; do shift; done; shift
"$@"
"""
DRIVER = """
import os, sys, time
if os.environ.get("SLURM_RESTART_COUNT"):
    sys.exit(3)
drain, begun = os.environ["JOULEGRID_DRAIN_FILE"], time.time()
while not os.path.exists(drain) and time.time() < begun + 150:
    time.sleep(0.1)
print("deadline in", float(os.environ["JOULEGRID_DEADLINE"]) - begun, "s", os.environ["HF_HUB_OFFLINE"], sys.argv[1:])
sys.exit(75 if os.path.exists(drain) else 4)
"""


@pytest.fixture(scope="module")
def walltime_job(slurm: BatchSystem) -> str:
    """A job of one node and one minute that drains when SLURM signals the end; it waits beside the other tests."""
    folder = slurm.shared / "wall time"
    tools = folder / "tools"
    tools.mkdir(parents=True)
    (tools / "ray").write_text(PRETENDED_RAY)
    (tools / "ray").chmod(0o755)
    (folder / "driver.py").write_text(DRIVER)
    job = BatchJob(
        name="walltime",
        command=("python3", str(folder / "driver.py"), "it's one word; $HOME"),
        folder=str(folder),
        python="python3",
        allocation=Allocation(time="1"),
        setup=(f'export PATH="{tools}":"$PATH"',),
        environment={"HF_HUB_OFFLINE": "1"},
    )
    (folder / "job.sbatch").write_text(batch_file(job))
    return slurm.said("sbatch", "--parsable", str(folder / "job.sbatch"))


@pytest.mark.timeout(500)
@pytest.mark.usefixtures("walltime_job")
def test_a_study_over_two_nodes_is_drained_requeued_and_finished_without_repeating_anything(slurm: BatchSystem) -> None:
    project, output = slurm.shared / "my project", slurm.shared / "all runs"
    project.mkdir()
    (project / "work.py").write_text(SCRIPT)
    (project / "the study.yaml").write_text(STUDY)
    asked = [
        "--nodes",
        "2",
        "--cpus-per-task",
        "1",
        "--time",
        "20",
        "--sbatch",
        "comment=a blank",
        "--output",
        str(output),
        "--json",
    ]
    done = slurm.run(sys.executable, "-m", "joulegrid", "submit", str(project / "the study.yaml"), "--slurm", *asked)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    number, log = said["job_id"], Path(said["log"])
    with _shown(log):
        _wait_until(lambda: len(list(output.glob("two-nodes_*/commit/*/*"))) >= 3, 180)
        slurm.said("scancel", "--batch", "--signal=USR1", number)
        _wait_until(lambda: slurm.job(number)["Restarts"] == "1", 120)
        [run] = output.glob("two-nodes_*")
        before = {path.name: path.read_bytes() for path in run.glob("commit/*/*")}
        assert 3 <= len(before) < N_TASKS
        _begin_now(slurm, number)
        _wait_until(lambda: slurm.job(number)["JobState"] in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"), 180)
        assert (slurm.job(number)["JobState"], slurm.job(number)["ExitCode"]) == ("COMPLETED", "0:0")
    after = {path.name: path.read_bytes() for path in run.glob("commit/*/*")}
    assert {name: after[name] for name in before} == before
    results = [one.result for one in RunResults(open_store(run)).done()]
    assert sorted(one.axes["script.globals.x"] for one in results) == list(range(N_TASKS))
    assert {one.attempt for one in results} == {0}  # the drain burned no attempt: what ran was let finish
    told = [one.metrics for one in results if one.metrics]
    assert len({one["host"] for one in told}) >= 2  # three where the second pass got another pair of nodes
    assert sum(one["passes"] == 0 for one in told) == len(before)
    study = json.loads((run / "study_result.json").read_text())
    assert (study["state"], study["counts"]["done"], study["counts"]["failed"]) == ("done", N_TASKS, 0)
    assert [path.name for path in log.parent.glob("drain-*")] == []
    assert "requeueing job" in log.read_text()


def test_slurm_signals_the_end_of_the_walltime_and_other_exit_codes_pass_through(
    slurm: BatchSystem, walltime_job: str
) -> None:
    log = slurm.shared / "wall time" / f"walltime-{walltime_job}.log"
    with _shown(log):
        _wait_until(lambda: slurm.job(walltime_job)["Restarts"] == "1", 100)
        _begin_now(slurm, walltime_job)
        _wait_until(lambda: slurm.job(walltime_job)["JobState"] == "FAILED", 30)
    assert slurm.job(walltime_job)["ExitCode"] == "3:0"
    said = log.read_text()
    deadline_s = float(said.partition("deadline in ")[2].split()[0])
    assert 20 < deadline_s <= 40  # a minute, less what Ray takes to end
    assert "1 [\"it's one word; $HOME\", '--address'" in said


def test_a_partition_that_does_not_exist_is_told_in_slurms_words(slurm: BatchSystem) -> None:
    study = slurm.shared / "absent.yaml"
    study.write_text("workload: script\nscript: {path: nothing.py}\nresources: {cpus: 1}\n")
    (slurm.shared / "nothing.py").write_text("def main(): return {}\n")
    done = slurm.run(sys.executable, "-m", "joulegrid", "submit", str(study), "--slurm", "--partition", "no such")
    assert done.returncode == 1
    assert "invalid partition" in done.stderr
    assert "Traceback" not in done.stderr


def _begin_now(slurm: BatchSystem, number: str) -> None:
    """SLURM lets a requeued job wait for two minutes; a test need not.

    For a moment it must: slurmd refuses credentials of the second in which it revoked those of the first start.
    """
    _wait_until(lambda: slurm.job(number)["JobState"] != "COMPLETING", 30)
    if slurm.job(number)["JobState"] == "PENDING":  # on a slow machine the two minutes may be over
        time.sleep(3)
        slurm.said("scontrol", "update", f"JobId={number}", "StartTime=now")


def _wait_until(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


@contextlib.contextmanager
def _shown(log: Path) -> Iterator[None]:
    """Show a job's log beside a failure."""
    try:
        yield
    except AssertionError as error:
        error.add_note(log.read_text()[-6000:] if log.exists() else "no log")
        raise
