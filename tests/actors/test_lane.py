"""A lane: what becomes of tasks that end well, badly, never, or by stealth."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from joulegrid.actors.commit import marker_path
from joulegrid.actors.lane import Lane
from joulegrid.actors.outcome import Outcome
from tests.actors.lanes import open_lane, result_of, script_task

BAD_ENDINGS = {
    "raises": ("def main():\n    raise ValueError('no such layer')", "app", "no such layer"),
    "leaves": ("import os\ndef main():\n    os._exit(3)", "crash", "exit code 3"),
    "segfaults": ("import ctypes\ndef main():\n    ctypes.string_at(0)", "crash", "SIGSEGV"),
    "silent": ("import os\ndef main():\n    os._exit(0)", "no_result", "exit code 0 and no result"),
    "import": ("import no_such_module\ndef main():\n    pass", "import", "no_such_module"),
    "unprintable": (
        "class Odd(Exception):\n    def __str__(self): raise RuntimeError\ndef main():\n    raise Odd",
        "app",
        "cannot be printed",
    ),
    "unkeepable": ("def main():\n    return {'x': object()}", "app", "metrics.x: a object cannot be kept"),
    "memory": ("def main():\n    raise MemoryError('too much')", "oom_host", "too much"),
}


@pytest.fixture(scope="module", params=["zygote", "spawn"])
def lane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    with open_lane(tmp_path_factory.mktemp("store"), request.param) as opened:
        yield opened


def test_a_script_runs_in_a_process_of_its_own_and_its_mapping_becomes_metrics(lane: Lane, tmp_path: Path) -> None:
    task = script_task(
        tmp_path, "import os\ndef main():\n    print('hello')\n    return {'pid': os.getpid(), 'x': 1.5}"
    )
    outcome = lane.run(task)
    result = result_of(lane, outcome)
    assert (outcome.status, result.status) == ("done", "done")
    assert result.metrics is not None
    assert result.metrics["x"] == 1.5
    assert result.metrics["pid"] != os.getpid()
    assert "hello" in result.log_tail
    assert result.lane.isolation == lane.run_facts.isolation
    assert json.loads(lane.store.get(marker_path(task)))["sha256"] == outcome.sha256


@pytest.mark.parametrize("name", BAD_ENDINGS)
def test_a_task_that_ends_badly_is_a_failed_result_and_the_lane_goes_on(lane: Lane, tmp_path: Path, name: str) -> None:
    source, failure_class, message = BAD_ENDINGS[name]
    task = script_task(tmp_path, source, name=name)
    outcome = lane.run(task)
    failure = result_of(lane, outcome).failure
    assert failure is not None
    assert (outcome.failure_class, failure.failure_class) == (failure_class, failure_class)
    assert message in failure.message
    assert not lane.store.exists(marker_path(task))
    assert lane.run(script_task(tmp_path, "def main():\n    return {}", name=f"after-{name}")).status == "done"


def test_a_crash_keeps_its_signal_and_the_trace_that_it_printed(lane: Lane, tmp_path: Path) -> None:
    outcome = lane.run(script_task(tmp_path, BAD_ENDINGS["segfaults"][0]))
    failure = result_of(lane, outcome).failure
    assert failure is not None
    assert failure.signal == 11
    assert "Segmentation fault" in failure.log_tail


def test_a_timeout_kills_the_whole_tree_whatever_it_does_to_escape(lane: Lane, tmp_path: Path) -> None:
    source = f"""
    import os, signal, subprocess, sys, time
    def main():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        escape = "import os, time; os.setsid(); time.sleep(60)"
        escaped = subprocess.Popen([sys.executable, "-c", escape], env={{}})
        open({str(tmp_path / "pid")!r}, "w").write(str(escaped.pid))
        while True:
            time.sleep(1)
    """
    began = time.monotonic()
    outcome = lane.run(script_task(tmp_path, source, timeout_s=2.0))
    assert outcome.failure_class == "timeout"
    assert time.monotonic() - began < 3.5
    assert not _alive(int((tmp_path / "pid").read_text()))


def test_what_a_done_task_leaves_behind_is_killed_before_the_next_one(lane: Lane, tmp_path: Path) -> None:
    source = f"""
    import subprocess, sys
    def main():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
    """
    result = result_of(lane, lane.run(script_task(tmp_path, source)))
    assert result.status == "done"
    assert result.escaped_processes == 1
    assert not _alive(int((tmp_path / "pid").read_text()))


def test_a_late_attempt_is_kept_but_never_counted(lane: Lane, tmp_path: Path) -> None:
    task = script_task(tmp_path, "import os\ndef main():\n    return {'pid': os.getpid()}")
    first = lane.run(task)
    late = lane.run(replace(task, attempt=1))
    assert (late.attempt, late.path, late.sha256) == (0, first.path, first.sha256)
    assert lane.store.exists(f"{first.path.removesuffix('-a0')}-a1/result.json")


def test_a_running_task_can_be_cancelled_from_another_thread(lane: Lane, tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    task = script_task(tmp_path, "import time\ndef main():\n    time.sleep(60)")
    runner = threading.Thread(target=lambda: outcomes.append(lane.run(task)))
    runner.start()
    time.sleep(1.0)
    lane.cancel()
    runner.join(timeout=10)
    assert outcomes[0].failure_class == "cancelled"


def test_a_dead_zygote_is_an_infrastructure_fault_and_the_next_task_gets_a_new_one(lane: Lane, tmp_path: Path) -> None:
    task = script_task(
        tmp_path,
        "import os, signal\ndef main():\n    os.kill(os.getppid(), signal.SIGKILL)\n    import time; time.sleep(30)",
    )
    outcome = lane.run(task)
    assert outcome.failure_class == "infra"
    assert lane.run(script_task(tmp_path, "def main():\n    return {}", name="next")).status == "done"


def test_a_flood_of_output_neither_blocks_the_task_nor_fills_the_result(lane: Lane, tmp_path: Path) -> None:
    result = result_of(
        lane, lane.run(script_task(tmp_path, "def main():\n    for _ in range(200_000): print('x' * 100)"))
    )
    assert result.status == "done"
    assert len(result.log_tail) <= 8_000


def test_modelled_joules_are_marked_and_a_power_series_lies_beside_the_result(lane: Lane, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    source = "import time\ndef main():\n    end = time.monotonic() + 0.6\n    while time.monotonic() < end: pass"
    outcome = lane.run(script_task(tmp_path, source))
    energy = result_of(lane, outcome).energy
    assert energy is not None
    assert energy.energy_j is not None
    assert (energy.provenance, energy.source) == ("modelled", "model")
    assert 0.1 * 4 < energy.energy_j < 0.7 * 4  # 0.6 s of an idle core
    assert lane.store.get(f"{outcome.path}/timeseries.parquet")
    table = pq.read_table(Path(lane.store.url) / outcome.path / "timeseries.parquet")
    assert {"t_ns", "device", "power_w", "provenance"} <= set(table.column_names)
    assert set(table["provenance"].to_pylist()) == {"modelled"}


def test_workers_that_a_task_keeps_running_are_paid_for_too(lane: Lane, tmp_path: Path) -> None:
    source = """
    import subprocess, sys, time
    burn = "import time; end = time.monotonic() + 60\\nwhile time.monotonic() < end: pass"
    child = subprocess.Popen([sys.executable, "-c", burn])
    def main():
        time.sleep(1.0)
    """
    result = result_of(lane, lane.run(script_task(tmp_path, source)))
    (window,) = result.windows or []
    assert 0.1 < window.cpu_s < 1.2  # a whole second on an idle core
    assert result.energy is not None
    assert result.energy.energy_j == pytest.approx(4.0 * window.cpu_s)


def test_a_worker_that_detaches_itself_leaves_no_negative_account(lane: Lane, tmp_path: Path) -> None:
    source = """
    import os, subprocess, sys, time
    burn = "import time; end = time.monotonic() + 0.5\\nwhile time.monotonic() < end: pass\\ntime.sleep(30)"
    parent = subprocess.Popen(["sh", "-c", f"'{sys.executable}' -c '{burn}' & sleep 30"])
    time.sleep(1.0)
    def main():
        parent.kill()
        parent.wait()
        time.sleep(0.1)
    """
    result = result_of(lane, lane.run(script_task(tmp_path, source)))
    assert result.status == "done", result.failure
    (window,) = result.windows or []
    assert 0.0 <= window.cpu_s < 0.2


def test_what_others_do_on_the_lanes_cores_is_on_record(lane: Lane, tmp_path: Path) -> None:
    others = psutil.Popen(["taskset", "-c", "0", "sh", "-c", "while :; do :; done"])
    try:
        result = result_of(lane, lane.run(script_task(tmp_path, "import time\ndef main():\n    time.sleep(1.0)")))
    finally:
        others.kill()
        others.wait()
    (window,) = result.windows or []
    assert window.other_cpu_s is not None
    assert window.other_cpu_s > 0.5


def test_files_in_the_artifacts_folder_are_kept_beside_the_result(lane: Lane, tmp_path: Path) -> None:
    write = "Path(os.environ['JOULEGRID_ARTIFACTS'], 'a b.txt').write_text('kept')"
    source = f"import os\nfrom pathlib import Path\ndef main():\n    {write}"
    outcome = lane.run(script_task(tmp_path, source))
    assert result_of(lane, outcome).artifacts == ["artifacts/a b.txt"]
    assert lane.store.get(f"{outcome.path}/artifacts/a b.txt") == b"kept"


def test_without_a_power_source_energy_is_null_and_says_why(tmp_path: Path) -> None:
    with open_lane(tmp_path / "store", power="none") as lane:
        result = result_of(lane, lane.run(script_task(tmp_path, "def main():\n    return {}")))
    assert result.energy is not None
    assert result.energy.energy_j is None
    assert result.energy.reason
    assert all(per.energy_j is None for per in result.energy_per or [])


def test_nothing_of_a_closed_lane_is_left(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    with open_lane(tmp_path / "store") as lane:
        lane.run(script_task(tmp_path, "def main():\n    return {}"))
        scratch, below = lane._runner.scratch, set(psutil.Process().children(recursive=True)) - before
        assert below
    assert not scratch.exists()
    assert not any(process.is_running() and process.status() != "zombie" for process in below)


def test_a_new_cycle_gets_a_new_zygote_and_the_same_cycle_keeps_it(tmp_path: Path) -> None:
    source = "import os\ndef main():\n    return {'parent': os.getppid()}"
    with open_lane(tmp_path / "store") as lane:
        parents = []
        for number, cycle in enumerate([0, 0, 1]):
            task = script_task(tmp_path, source, name=f"t{number}", cycle=cycle)
            parents.append((result_of(lane, lane.run(task)).metrics or {})["parent"])
    assert parents[0] == parents[1] != parents[2]


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
