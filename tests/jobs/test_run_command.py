"""`joulegrid run` as a process: signals, exit codes, stdout and stderr."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from joulegrid.cluster.storage import open_store
from joulegrid.jobs.report.run_results import RunResults
from tests.jobs.processes import task_processes
from tests.jobs.studies import TWO_LANES, study_of

pytestmark = pytest.mark.usefixtures("ray_here")

SLOW = "import time\nx = 0\ndef main():\n    time.sleep(x)\n    return {'x': x}"


@pytest.fixture
def address() -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)


@pytest.fixture
def started(address: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `joulegrid run` and end it with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(study: Path, *flags: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "joulegrid", "run", str(study), "--address", address, *flags]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


Start = Callable[..., "subprocess.Popen[str]"]


def test_stdout_is_the_study_result_as_json_and_nothing_else(started: Start, tmp_path: Path) -> None:
    process = started(_written(study_of(tmp_path)), "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["counts"]["done"] == 3
    assert "3/3 ended" in err


def test_quiet_says_nothing_on_stderr_and_prints_the_table(started: Start, tmp_path: Path) -> None:
    process = started(_written(study_of(tmp_path)), "--quiet")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "modelled" in out
    assert "x=3" in out


def test_failed_tasks_leave_with_exit_code_1(started: Start, tmp_path: Path) -> None:
    process = started(_written(study_of(tmp_path, "x = 0\ndef main():\n    return 1 / x", [0, 1])))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "division by zero" in out + err
    assert "Traceback" not in err


def test_ctrl_c_ends_the_tasks_leaves_a_valid_manifest_and_the_next_start_does_the_rest(
    started: Start, tmp_path: Path
) -> None:
    study = _written(study_of(tmp_path, SLOW, [0, 0.01, 31, 32], resources=TWO_LANES))
    process = started(study)
    run = _wait_for(tmp_path, lambda counts: counts["done"] == 2 and counts["running"] == 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted: 2 tasks left" in err
    assert "Traceback" not in err
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["state"], manifest["counts"]["pending"]) == ("interrupted", 2)
    assert not task_processes()
    quick = yaml.safe_load(study.read_text()) | {"sweep": {"script.globals.x": [0, 0.01, 31, 32]}}
    Path(quick["script"]["path"]).write_text(SLOW)
    again = started(study, "--set", "execution.experiment_timeout_seconds=1", "--json")
    out, _ = again.communicate(timeout=60)
    result = json.loads(out)
    assert Path(result["run"]) == run
    assert (result["counts"]["done"], result["counts"]["failed"]) == (2, 2)
    assert again.returncode == 1


def test_sigterm_ends_a_run_in_the_same_order_as_ctrl_c(started: Start, tmp_path: Path) -> None:
    process = started(_written(study_of(tmp_path, SLOW, [30, 31], resources=TWO_LANES)))
    run = _wait_for(tmp_path, lambda counts: counts["running"] == 2)
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted: 2 tasks left" in err
    assert json.loads((run / "manifest.json").read_text())["state"] == "interrupted"


def test_a_driver_killed_at_once_loses_nothing_and_repeats_nothing(started: Start, tmp_path: Path) -> None:
    source = "import os, time\nx = 0\ndef main():\n    time.sleep(0.4)\n    return {'pid': os.getpid()}"
    study = _written(study_of(tmp_path, source, [1, 2, 3, 4, 5, 6]))
    process = started(study)
    run = _wait_for(tmp_path, lambda counts: counts["done"] >= 2)
    process.kill()
    process.communicate()
    _wait_until(lambda: not task_processes())
    committed = {one.result.key: one.result.metrics for one in RunResults(open_store(run)).done()}
    assert committed
    out, err = started(study, "--json").communicate(timeout=60)
    result = json.loads(out)
    assert Path(result["run"]) == run, err
    assert result["counts"] == result["counts"] | {"done": 6, "failed": 0, "pending": 0}
    after = {one.result.key: one.result.metrics for one in RunResults(open_store(run)).done()}
    assert {key: after[key] for key in committed} == committed


def test_two_runs_started_at_once_get_folders_of_their_own(started: Start, tmp_path: Path) -> None:
    study = _written(study_of(tmp_path, xs=[1]))
    both = [started(study, "--fresh", "--quiet", "--json") for _ in range(2)]
    runs = {json.loads(process.communicate(timeout=90)[0])["run"] for process in both}
    assert len(runs) == 2


def test_above_confirm_above_without_a_terminal_nothing_starts_and_yes_is_named(started: Start, tmp_path: Path) -> None:
    study = _written(study_of(tmp_path, execution={"confirm_above": 2}))
    process = started(study)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "--yes" in err
    assert not (tmp_path / "out").exists()


def test_an_address_where_nobody_answers_is_refused_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "joulegrid", "run", str(_written(study_of(tmp_path))), "--address", "127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "nobody answers at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def _written(study: dict[str, Any]) -> Path:
    folder = Path(study["script"]["path"]).parent
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def _wait_for(folder: Path, reached: Callable[[dict[str, int]], bool]) -> Path:
    """Wait until the one run below `folder`/out has these counts; return its folder."""
    found: list[Path] = []

    def look() -> bool:
        found[:] = list((folder / "out").glob("*/manifest.json"))
        return bool(found) and reached(json.loads(found[0].read_text())["counts"])

    _wait_until(look)
    return found[0].parent


def _wait_until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not true():
        assert time.monotonic() < limit, "waited for a minute in vain"
        time.sleep(0.1)
