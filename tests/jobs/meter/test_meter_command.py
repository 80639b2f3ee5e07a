"""`joulegrid meter` in processes of its own: exit codes, signals, output, which GPUs, what is summed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.nvml_simulated.build import simulated_nvml, uuid_of

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[3]


def metered(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "joulegrid", "meter", *arguments]
    given = {**(os.environ if env is None else env), "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def gpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return simulated_nvml(tmp_path_factory.mktemp("gpus"), gpus=2)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--source", "model", "--", "sh", "-c", "exit 3"], 3, "model, modelled"),
        (["--source", "model", "sh", "-c", "kill -9 $$"], 137, "model, modelled"),
        (["--source", "none", "true"], 0, "power: none"),
        (["--source", "model", "--", "no-such-command-here"], 127, "no-such-command-here: command not found"),
        (["--source", "model", "--", "/etc/passwd"], 126, "Permission denied"),
        ([], 2, "no COMMAND"),
        (["--source", "guess", "true"], 2, "--source guess"),
        (["--gpu", "", "true"], 2, "--gpu is empty"),
        (["--gpu", "0", "--source", "model", "true"], 2, "needs NVML"),
        (["--source", "replay", "true"], 2, "give --trace FILE"),
        (["--trace", "x.parquet", "true"], 2, "is for --source replay"),
        (["--source", "replay", "--trace", "/no/such.parquet", "true"], 2, "there is no such file"),
        (["--source", "model", "-o", "/tmp", "true"], 2, "that is a folder"),
        (["--source", "model", "-o", "/dev/full", "--", "sh", "-c", "exit 3"], 3, "was not written: No space left"),
        (["--source", "model", "-o", "/dev/full", "true"], 1, "model, modelled"),
        (["--source", "model", "--", ""], 2, "no COMMAND"),
        (["--source", "model", "-o", "/no/such/folder/x.json", "true"], 2, "there is no folder"),
    ],
)
def test_the_exit_code_is_the_commands_or_a_shells(arguments: list[str], code: int, words: str) -> None:
    done = metered(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_commands_output_is_untouched_and_the_json_goes_to_stderr_and_a_file(tmp_path: Path) -> None:
    place = tmp_path / "with space.json"
    done = metered("--source", "model", "--json", "-o", str(place), "--", "sh", "-c", "echo out")
    assert done.stdout == "out\n"
    told: dict[str, Any] = json.loads(done.stderr)
    assert told == json.loads(place.read_text())
    assert told["command"] == ["sh", "-c", "echo out"] and told["exit_code"] == 0
    assert told["energy"]["provenance"] == "modelled"


BURN = "import time; ends = time.monotonic() + 1; [0 for _ in iter(lambda: time.monotonic() < ends, False)]"


def test_cpu_time_of_what_detaches_itself_is_counted() -> None:
    script = f'(setsid {sys.executable} -c "{BURN}" &) ; sleep 1.5'
    told = json.loads(metered("--source", "model", "--json", "--", "sh", "-c", script).stderr)
    assert told["cpu_s"] > 0.3, "a busy machine gives it less than its second"
    assert told["energy"]["energy_j"] == pytest.approx(4.0 * told["cpu_s"])


def test_all_gpus_are_sampled_and_the_visible_one_is_reported(gpus: dict[str, str]) -> None:
    told = json.loads(metered("--json", "sleep", "0.6", env={**gpus, "CUDA_VISIBLE_DEVICES": uuid_of(1)}).stderr)
    energy, sampled = told["energy"], told["sampled"]
    assert energy["device"] == uuid_of(1) and energy["source"] == "counter" and energy["provenance"] == "measured"
    assert energy["energy_j"] == pytest.approx(70.0 * told["seconds"], rel=0.1)
    assert [one["device"] for one in sampled] == [uuid_of(0)] and sampled[0]["energy_j"] > 0
    assert {one["scope"] for one in told["beside"]} == {"cpu_package"}, "beside, because a model joins no measured sum"
    assert told["conditions"][0]["limits"]["current_w"] == 700.0 and told["edges"] == "synced"


@pytest.mark.parametrize(("visible", "scope"), [("", "cpu_package"), ("1,0", "gpu_board")])
def test_an_empty_list_of_visible_gpus_reports_none_and_samples_all(
    gpus: dict[str, str], visible: str, scope: str
) -> None:
    told = json.loads(metered("--json", "sleep", "0.3", env={**gpus, "CUDA_VISIBLE_DEVICES": visible}).stderr)
    assert told["energy"]["scope"] == scope
    assert len(told["sampled"]) + len(told["energy"]["parts"]) == 2


def test_a_gpu_that_is_not_there_is_refused_before_the_command_starts(gpus: dict[str, str], tmp_path: Path) -> None:
    done = metered("--gpu", "7", "touch", str(tmp_path / "ran"), env=gpus)
    assert done.returncode == 2 and "'7' names no GPU" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 42), (signal.SIGTERM, 143)])
def test_signals_reach_the_command_and_its_joules_are_still_told(number: signal.Signals, code: int) -> None:
    script = "trap 'exit 42' INT; echo ready; while true; do sleep 0.1; done"
    command = [sys.executable, "-m", "joulegrid", "meter", "--source", "model", "sh", "-c", script]
    env, pipe = {**os.environ, "PYTHONPATH": str(ROOT)}, subprocess.PIPE
    with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            process.send_signal(number)
            _, told = process.communicate(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the command too, should it have outlived the meter
    assert process.returncode == code
    assert "model, modelled" in told


def test_a_ctrl_c_after_the_command_has_ended_loses_no_figures(gpus: dict[str, str]) -> None:
    command = [sys.executable, "-m", "joulegrid", "meter", "sh", "-c", "sleep 0.3; echo ends"]
    env, pipe = {**gpus, "PYTHONPATH": str(ROOT)}, subprocess.PIPE
    with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ends\n"
            for _ in range(20):  # in the half second in which the sensors' last ticks are waited for
                time.sleep(0.02)
                process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode in (0, 130), "the command's own last instant, or after it"
    assert "measured" in told and "Traceback" not in told


def test_a_meter_that_is_killed_leaves_no_reader(gpus: dict[str, str]) -> None:
    command = [sys.executable, "-m", "joulegrid", "meter", "sh", "-c", "echo ready; exec sleep 2"]
    env = {**gpus, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            children = Path(f"/proc/{process.pid}/task").glob("*/children")
            pids = [int(pid) for file in children for pid in file.read_text().split()]
            readers = [pid for pid in pids if b"power.sampler.sampling" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        finally:
            process.kill()
    assert len(readers) == 1
    ends_s = time.monotonic() + 5
    while Path(f"/proc/{readers[0]}").exists() and time.monotonic() < ends_s:
        time.sleep(0.02)
    assert not Path(f"/proc/{readers[0]}").exists()


def test_a_signal_that_the_caller_ignores_stays_ignored_as_under_nohup() -> None:
    words = [sys.executable, "-m", "joulegrid", "meter", "--source", "model", "--", "sh", "-c", "kill -HUP $$; echo on"]
    outer = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(outer, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "on\n")


def test_the_model_answers_where_the_sampling_process_dies_at_once() -> None:
    script = "import sys, joulegrid; sys.executable = '/bin/false'\nwith joulegrid.meter() as m: pass\nprint(m.source)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "model\n"), done.stderr
