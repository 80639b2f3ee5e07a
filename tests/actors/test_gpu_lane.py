"""A lane's GPUs: who else is on them, whether they are free again, how warm they are. NVML is simulated."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulegrid.actors.gate import Gate
from tests.actors.gpu_lane import GpuLane, open_gpu_lane
from tests.cluster.nvml_simulated.build import PROCESSES_UNSUPPORTED, Control, mig_uuid_of, simulated_nvml, uuid_of

NOBODY = 4_194_303  # the largest process id that Linux gives; nobody has it here
HEAD = """
import os, time
from tests.cluster.nvml_simulated.build import Control
gpus = Control(os.environ)
"""
QUIET = HEAD + "def main():\n    return {'visible': os.environ['CUDA_VISIBLE_DEVICES']}"
OWN = (
    HEAD
    + """
def main():
    child = os.fork()
    if child == 0:
        time.sleep(60)
    gpus.occupy(0, [os.getpid(), child])
    time.sleep(1.5)
    gpus.occupy(0, [])
    return {"x": 1}
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpus")


@pytest.fixture(scope="module")
def env(folder: Path) -> dict[str, str]:
    return simulated_nvml(folder, gpus=3, mig=(2, 2))


@pytest.fixture
def control(env: dict[str, str]) -> Iterator[Control]:
    """The simulation, as new before each test."""
    control = Control(env)
    for index in range(5):
        control.occupy(index, [])
        gpu = control.gpu(index)
        gpu.temperature_c, gpu.utilisation, gpu.faults, gpu.lost_ns = 40, -1, 0, 0
    yield control
    control.occupy(0, [])


@pytest.fixture(scope="module")
def lane(folder: Path, env: dict[str, str]) -> Iterator[GpuLane]:
    with open_gpu_lane(folder, env, "0") as opened:
        yield opened


@pytest.fixture
def stranger() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "60"])
    while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":  # between fork and exec it still bears our name
        time.sleep(0.01)
    yield process.pid
    process.kill()
    process.wait()


def test_the_tasks_own_processes_are_nobody_foreign(lane: GpuLane, control: Control) -> None:
    outcome, result = lane.run(OWN)
    assert (outcome["status"], outcome["lane_fault"]) == ("done", None), outcome
    assert result["lane"]["foreign"] == []
    assert result["lane"]["gpu_memory_before_bytes"] == 0
    assert result["lane"]["gpu_utilisation_before"] == 0.0
    assert result["lane"]["start_celsius"] == 40.0
    assert (result["lane"]["gate_wait_s"], result["lane"]["mig"]) == (None, False)


def test_foreign_work_before_the_start_is_named_and_the_task_is_not_begun(
    lane: GpuLane, control: Control, stranger: int, folder: Path
) -> None:
    control.occupy(0, [stranger])
    mark = folder / "begun"
    outcome, result = lane.run(f"def main():\n    open({str(mark)!r}, 'w')")
    assert outcome["failure_class"] == "contaminated"
    assert f"PID {stranger} (sleep) on {uuid_of(0)}" in outcome["message"]
    assert "the task itself" not in outcome["message"]
    assert "foreign work" in outcome["lane_fault"]
    (foreign,) = result["lane"]["foreign"]
    assert (foreign["pid"], foreign["name"], foreign["seen"]) == (stranger, "sleep", "before")
    assert not mark.exists()
    control.occupy(0, [])
    assert lane.run(QUIET)[0]["status"] == "done"


def test_foreign_work_during_a_task_keeps_its_numbers_out_of_the_result_but_beside_it(
    lane: GpuLane, control: Control, stranger: int
) -> None:
    source = HEAD + (
        "def main():\n"
        f"    gpus.occupy(0, [os.getpid(), {stranger}])\n    time.sleep(1.6)\n    gpus.occupy(0, [])\n"
        "    return {'x': 7}"
    )
    outcome, result = lane.run(source)
    assert (outcome["status"], outcome["failure_class"]) == ("failed", "contaminated")
    assert result["metrics"] is None
    assert result["windows"] is None
    assert [(one["pid"], one["seen"]) for one in result["lane"]["foreign"]] == [(stranger, "during")]
    assert result["artifacts"] == ["contaminated.json"]
    raw = json.loads(lane.stored(f"{outcome['path']}/contaminated.json"))
    assert raw["report"]["metrics"] == {"x": 7}
    assert raw["windows"][0]["energy"]["source"] == "counter"
    assert raw["windows"][0]["conditions"][0]["foreign_pids"] == [stranger]
    assert not (Path(lane._folder) / "store" / "commit" / outcome["task_id"][:2] / outcome["task_id"]).exists()


def test_a_task_that_fails_beside_foreign_work_is_contaminated_and_says_both(
    lane: GpuLane, control: Control, stranger: int
) -> None:
    body = f"    gpus.occupy(0, [{stranger}])\n    time.sleep(1.3)\n    gpus.occupy(0, [])"
    body += "\n    raise RuntimeError('CUDA error: out of memory')"
    outcome, _ = lane.run(f"{HEAD}def main():\n{body}")
    assert outcome["failure_class"] == "contaminated"
    assert "the task itself ended as oom_device" in outcome["message"]
    control.occupy(0, [])


def test_process_ids_of_another_namespace_make_foreign_unknown_not_empty(lane: GpuLane, control: Control) -> None:
    source = HEAD + f"def main():\n    gpus.occupy(0, [{NOBODY}])\n    time.sleep(1.4)\n    gpus.occupy(0, [])\n"
    outcome, result = lane.run(source)
    assert (outcome["status"], outcome["lane_fault"]) == ("done", None)
    assert result["lane"]["foreign"] is None


def test_a_task_that_nvml_does_not_list_shows_that_it_lists_nobody(lane: GpuLane, control: Control) -> None:
    source = (
        HEAD + "def main():\n    gpus.gpu(0).memory_used = 2**30\n    time.sleep(1.4)\n    gpus.gpu(0).memory_used = 0"
    )
    outcome, result = lane.run(source)
    assert outcome["status"] == "done"
    assert result["lane"]["foreign"] is None


def test_in_a_container_nobody_is_unknown_until_nvml_has_listed_a_task_of_ours(
    folder: Path, env: dict[str, str], control: Control
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs a PID namespace of its own")
    within = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    with open_gpu_lane(folder, env, "1", within=within) as lane:
        assert lane.run(QUIET)[1]["lane"]["foreign"] is None
        assert lane.run(OWN.replace("occupy(0", "occupy(1"))[1]["lane"]["foreign"] == []
        assert lane.run(QUIET)[1]["lane"]["foreign"] == []
        control.gpu(1).utilisation = 90  # of the lane's own last task, perhaps: those who can be named decide
        assert lane.run(QUIET)[0]["status"] == "done"


@pytest.mark.parametrize("sign", ["memory", "utilisation"])
def test_where_nobody_can_be_named_memory_and_utilisation_tell(lane: GpuLane, control: Control, sign: str) -> None:
    control.gpu(0).faults = PROCESSES_UNSUPPORTED
    outcome, result = lane.run(QUIET)
    assert (outcome["status"], result["lane"]["foreign"]) == ("done", None)
    if sign == "memory":
        control.gpu(0).memory_used = 2**30
    else:
        control.gpu(0).utilisation = 50
    outcome, result = lane.run(QUIET)
    assert outcome["failure_class"] == "contaminated"
    assert ("1,073,741,824 bytes" if sign == "memory" else "50 % busy") in outcome["message"]
    assert "cannot be seen from here" in outcome["message"]
    assert result["lane"]["foreign"] is None
    assert outcome["lane_fault"]


def test_memory_that_is_not_given_back_makes_the_lane_sick_and_the_result_stays(
    lane: GpuLane, control: Control
) -> None:
    outcome, result = lane.run(HEAD + "def main():\n    gpus.gpu(0).memory_used = 2**29")
    assert outcome["status"] == "done"
    assert "536,870,912 bytes of GPU memory were not given back" in outcome["lane_fault"]
    assert result["gpu_bytes_left"] == 2**29


def test_a_gpu_that_has_fallen_off_the_bus_is_no_fault_of_the_task(lane: GpuLane, control: Control) -> None:
    source = HEAD + "def main():\n    gpus.gpu(0).lost_ns = time.monotonic_ns()\n    raise RuntimeError('CUDA error')"
    outcome, result = lane.run(source)
    assert outcome["failure_class"] == "infra"
    assert f"GPU {uuid_of(0)} does not answer: NVML: GPU is lost" in outcome["lane_fault"]
    assert "the task itself ended as app" in result["failure"]["message"]
    outcome, result = lane.run(QUIET)
    assert (outcome["failure_class"], outcome["path"]) == ("infra", "")
    assert "does not answer" in outcome["lane_fault"]


def test_a_lane_waits_for_its_gpu_to_cool_and_the_limit_does_not_run_meanwhile(
    folder: Path, env: dict[str, str], control: Control
) -> None:
    control.gpu(1).temperature_c = 61
    with open_gpu_lane(folder, env, uuid_of(1), Gate(45.0, 60.0)) as lane:
        lane.start(QUIET, timeout_s=1.5)
        notes, limit_s = set(), time.monotonic() + 2.0
        while time.monotonic() < limit_s:
            notes.add((lane.progress() or {}).get("note"))
            time.sleep(0.1)
        assert "waiting for 45 °C (now 61 °C)" in notes
        control.gpu(1).temperature_c = 45
        outcome, result = lane.wait()
        assert outcome["status"] == "done"
        assert (result["lane"]["start_celsius"], result["lane"]["gate_expired"]) == (45.0, False)
        assert result["lane"]["gate_wait_s"] > 1.5
        assert result["timing"]["duration_s"] < 1.5
        control.gpu(1).temperature_c = 50
        lane.start(QUIET)
        time.sleep(0.7)
        lane.cancel()
        assert lane.wait()[0]["failure_class"] == "cancelled"


def test_a_gate_opens_when_its_patience_ends_and_says_so(folder: Path, env: dict[str, str], control: Control) -> None:
    control.gpu(1).temperature_c = 61
    with open_gpu_lane(folder, env, "1", Gate(45.0, 0.3)) as lane:
        outcome, result = lane.run(QUIET)
    assert outcome["status"] == "done"
    assert (result["lane"]["start_celsius"], result["lane"]["gate_expired"]) == (61.0, True)


def test_a_lane_of_two_gpus_shows_both_by_uuid_and_sums_their_joules(tmp_path: Path, control: Control) -> None:
    env = simulated_nvml(tmp_path, gpus=3, idle_w=100.0)
    with open_gpu_lane(tmp_path, env, "2,1") as lane:
        outcome, result = lane.run(QUIET.replace("    return", "    time.sleep(1)\n    return"))
    assert outcome["status"] == "done", outcome
    assert result["metrics"]["visible"] == f"{uuid_of(2)},{uuid_of(1)}"
    (window,) = result["windows"]
    assert window["energy"]["low_j"] <= 200.0 * window["seconds"] <= window["energy"]["high_j"]
    assert [one["device"] for one in window["conditions"]] == [uuid_of(2), uuid_of(1)]
    assert window["conditions"][0]["temperature_max_c"] == 40.0 and window["conditions"][0]["throttled"] is False
    # 1 s at 50 ms is 20; the marks of the two edges have made it denser.
    assert window["conditions"][0]["power_readings"] + window["conditions"][0]["missed_deadlines"] > 25


def test_a_mig_instance_is_named_as_such(folder: Path, env: dict[str, str], control: Control) -> None:
    with open_gpu_lane(folder, env, mig_uuid_of(1)) as lane:
        outcome, result = lane.run(QUIET)
    assert outcome["status"] == "done", outcome
    assert result["metrics"]["visible"] == mig_uuid_of(1)
    assert (result["lane"]["mig"], result["lane"]["parent_gpu_uuids"]) == (True, [uuid_of(2)])
    assert result["lane"]["start_celsius"] == 40.0  # the board's
    assert result["windows"][0]["energy"]["energy_j"] is None
    assert "MIG" in result["windows"][0]["energy"]["reason"]
