"""`joulegrid submit --address`: what is refused before anything is sent, following, stopping without loss, going on."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from joulegrid.cluster.ray_jobs import ClusterSoftware
from joulegrid.cluster.storage import open_store
from joulegrid.errors import PreFlightError, UsageError
from joulegrid.jobs.commands import RunFlags, StudyFlags
from joulegrid.jobs.report.run_results import RunResults
from joulegrid.jobs.submit.batch_job import SlurmTarget
from joulegrid.jobs.submit.ray_job import RayTarget, check_software
from joulegrid.jobs.submit.submit import Targets, submit_command
from joulegrid.version import __version__
from tests.jobs.ray_head import RayHead

ROOT = Path(__file__).parents[3]
N_TASKS = 8
LANES = 2
SCRIPT = "import time\nx = 0\ndef main():\n    time.sleep(1.5)\n    return {'x': x, 'y': 1 / (x - 7)}\n"
STUDY = f"""
study_name: sleeping
workload: script
script: {{path: "../code/sleep here.py"}}
sweep: {{script.globals.x: {list(range(N_TASKS))}}}
resources: {{cpus: 1}}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study in a project of its own, far from this checkout, with blanks in its path."""
    project = tmp_path / "a project"
    for name, content in {"studies/the study.yaml": STUDY, "code/sleep here.py": SCRIPT, ".rayignore": ""}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)
    return project / "studies" / "the study.yaml"


def command(study: Path, address: str, *flags: str) -> list[str]:
    return [sys.executable, "-m", "joulegrid", "submit", str(study), "--address", address, *flags]


def submitted(head: RayHead, study: Path, *flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `joulegrid submit` from this checkout against the head."""
    environment = {**head.environment, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        command(study, head.jobs_address, *flags),
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.timeout(400)
@pytest.mark.cluster
@pytest.mark.slow
def test_a_job_that_is_stopped_keeps_what_it_has_leaves_no_process_and_goes_on_later(
    head: RayHead, study: Path, tmp_path: Path
) -> None:
    output = tmp_path / "all runs"
    with following(head, study, output) as follower:
        _wait_until(lambda: len(markers(output)) >= 2, 150)
        follower.send_signal(signal.SIGINT)
        _, told = follower.communicate(timeout=30)
    assert follower.returncode == 130
    assert "no longer following; the job goes on" in told
    [job] = set(re.findall(r"raysubmit_\w+", told))
    so_far = len(markers(output))
    _wait_until(lambda: len(markers(output)) > so_far, 60)  # it does go on
    api(head, "POST", f"/api/jobs/{job}/stop")  # `ray job stop`
    _wait_until(lambda: json.loads(api(head, "GET", f"/api/jobs/{job}"))["status"] == "STOPPED", 45)
    [run] = output.glob("sleeping_*")
    manifest = json.loads((run / "manifest.json").read_text())
    before = markers(output)
    assert manifest["state"] == "interrupted" and manifest["counts"]["running"] == 0
    # A lane may commit after the driver's last look: the markers decide, and the next start counts them.
    assert 0 <= len(before) - manifest["counts"]["done"] <= LANES
    assert len(before) < N_TASKS
    assert task_processes(head) == []
    again = submitted(head, study, "-o", str(output), "--follow", "--json")
    assert again.returncode == 1, again.stdout + again.stderr  # the driver's own: a task has failed
    assert json.loads(again.stdout) == json.loads(again.stdout) | {"status": "FAILED", "exit_code": 1}
    assert f"going on with {len(before)} done" in again.stderr
    after = markers(output)
    assert {name: after[name] for name in before} == before
    results = [one.result for one in RunResults(open_store(run)).done()]
    assert sorted(one.axes["script.globals.x"] for one in results) == list(range(N_TASKS - 1))
    counts = json.loads((run / "study_result.json").read_text())["counts"]
    assert (counts["done"], counts["failed"], counts["pending"]) == (N_TASKS - 1, 1, 0)


@pytest.mark.cluster
@pytest.mark.slow
def test_without_the_clusters_token_nothing_is_sent(head: RayHead, study: Path, tmp_path: Path) -> None:
    before = api(head, "GET", "/api/jobs/")
    wrong = submitted(head, study, "-o", str(tmp_path), RAY_AUTH_TOKEN="another")
    none = submitted(head, study, "-o", str(tmp_path), HOME=str(tmp_path))
    assert (wrong.returncode, none.returncode) == (1, 1)
    assert "Invalid authentication token" in wrong.stderr
    assert "set RAY_AUTH_MODE=token" in none.stderr
    assert "Traceback" not in wrong.stderr + none.stderr
    assert api(head, "GET", "/api/jobs/") == before


@pytest.mark.parametrize(
    ("flags", "run_flags", "complaint"),
    [
        (StudyFlags(), RunFlags(), "'results' is relative"),
        (StudyFlags(output="/runs"), RunFlags(), "nobody answers at http://127.0.0.1:1"),
        (StudyFlags(sets=("execution.confirm_above=3",)), RunFlags(), "8 tasks are more than execution.confirm_above"),
        (StudyFlags(sets=("script.pth=a",)), RunFlags(), "script.pth"),
    ],
)
def test_what_can_be_known_here_is_refused_here(
    study: Path, flags: StudyFlags, run_flags: RunFlags, complaint: str
) -> None:
    targets = Targets(RayTarget("http://127.0.0.1:1"), SlurmTarget(), by_slurm=False)
    with pytest.raises((UsageError, PreFlightError)) as refusal:
        submit_command(study, flags, run_flags, targets)
    assert complaint in str(refusal.value)


def test_an_address_of_another_kind_and_a_wrong_variable_are_usage_errors(study: Path) -> None:
    for ray, complaint in (
        (RayTarget("10.0.0.1:6379"), "http://HEAD:8265"),
        (RayTarget("http://127.0.0.1:1", variables=("AWS_REGION",)), "NAME=VALUE"),
    ):
        with pytest.raises(UsageError, match=complaint):
            submit_command(study, StudyFlags(output="/runs"), RunFlags(), Targets(ray, SlurmTarget(), by_slurm=False))


def test_other_versions_are_told_and_too_old_ones_refused() -> None:
    fine = ClusterSoftware("3.12.1", "2.55.0", __version__, ())
    assert [line.split(",")[0] for line in check_software(fine, uploaded=False)] == [
        "the cluster has Python 3.12.1",
        "the cluster has Ray 2.55.0",
    ]
    with pytest.raises(PreFlightError, match=r"Python 3\.9\.2; Joulegrid needs 3\.11"):
        check_software(ClusterSoftware("3.9.2", "2.60.0", None, ()), uploaded=True)
    with pytest.raises(PreFlightError, match=r"Ray 2\.9\.0; Joulegrid needs 2\.50"):
        check_software(ClusterSoftware("3.11.2", "2.9.0", None, ()), uploaded=True)
    with pytest.raises(PreFlightError, match="has no Joulegrid"):
        check_software(ClusterSoftware("3.11.2", "2.60.0", None, ()), uploaded=False)
    with pytest.raises(PreFlightError, match="lacks boto3, rich"):
        check_software(ClusterSoftware("3.11.2", "2.60.0", None, ("boto3", "rich")), uploaded=True)


@contextlib.contextmanager
def following(head: RayHead, study: Path, output: Path) -> Iterator[subprocess.Popen[str]]:
    """A `joulegrid submit --follow` that runs."""
    process = subprocess.Popen(
        command(study, head.jobs_address, "-o", str(output), "--follow"),
        env={**head.environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def api(head: RayHead, method: str, path: str) -> str:
    """Ask the job API what `ray job` asks it."""
    token = (Path(head.environment["HOME"]) / ".ray" / "auth_token").read_text()
    request = urllib.request.Request(head.jobs_address + path, method=method)
    request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())


def markers(output: Path) -> dict[str, bytes]:
    """Commit markers and what is in them."""
    return {path.name: path.read_bytes() for path in output.glob("sleeping_*/commit/*/*")}


def task_processes(head: RayHead) -> list[str]:
    """Processes of this head's tasks: they carry the nonce of a lane."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            ours = all(environment.get(name) == value for name, value in head.environment.items() if "TEST" in name)
            if ours and "JOULEGRID_NONCE" in environment and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {process.cmdline()}")
    return found


def _wait_until(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
