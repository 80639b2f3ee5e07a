"""What holds a task to its limit, and what of it is kept when only its end hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from joulegrid.actors.commit import marker_path
from joulegrid.actors.lane import Lane
from tests.actors.lanes import open_lane, result_of, script_task

HANGING_STREAM = """
import sys, time
class Hanging:
    def write(self, text): pass
    def flush(self): time.sleep(60)
def main():
    sys.stdout = Hanging()
    {end}
"""
RUNAWAYS = """
import os, time
def main():
    {begin}
    for _ in range(12):
        if os.fork() == 0:
            os.setsid()
            while True:  # each lives for a moment and leaves a child: a process that is never where it was seen
                if os.fork():
                    os._exit(0)
                time.sleep(0.0005)
    time.sleep({sleep})
"""


@pytest.fixture(scope="module", params=["zygote", "spawn"])
def lane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    with open_lane(tmp_path_factory.mktemp("store"), request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    with open_lane(tmp_path_factory.mktemp("store")) as opened:
        yield opened


def test_a_limit_shorter_than_the_start_of_a_process_is_a_timeout(lane: Lane, tmp_path: Path) -> None:
    for number in range(3):
        outcome = lane.run(script_task(tmp_path, "def main():\n    return {}", timeout_s=0.0001, name=f"t{number}"))
        assert outcome.failure_class == "timeout"
    assert lane.run(script_task(tmp_path, "def main():\n    return {}", name="next")).status == "done"


@pytest.mark.parametrize("end", ["return {'x': 1}", "raise ValueError('no such layer')"], ids=["done", "failed"])
def test_a_report_written_before_a_hung_end_counts(lane: Lane, tmp_path: Path, end: str) -> None:
    if "raise" in end and lane.run_facts.isolation == "spawn":
        pytest.skip("the zygote's children show it")
    began_s = time.monotonic()
    task = script_task(tmp_path, HANGING_STREAM.format(end=end), timeout_s=2.0)
    outcome = lane.run(task)
    result = result_of(lane, outcome)
    assert time.monotonic() - began_s < 10.0  # five seconds or the rest of the limit, whichever is less
    assert result.teardown == "killed"
    assert outcome.failure_class == (None if "return" in end else "app")
    assert lane.store.exists(marker_path(task)) == (outcome.status == "done")


def test_without_a_limit_a_hung_end_is_given_five_seconds(zygote: Lane, tmp_path: Path) -> None:
    outcome = zygote.run(script_task(tmp_path, HANGING_STREAM.format(end="return {'x': 1}"), timeout_s=None))
    result = result_of(zygote, outcome)
    assert (result.status, result.teardown) == ("done", "killed")
    assert 4.5 < result.timing.duration_s < 20.0


def test_threads_and_exit_handlers_that_never_end_do_not_hold_a_lane(lane: Lane, tmp_path: Path) -> None:
    source = """
    import atexit, threading, time
    def main():
        threading.Thread(target=lambda: time.sleep(60)).start()
        atexit.register(time.sleep, 60)
        return {"x": 1}
    """
    result = result_of(lane, lane.run(script_task(tmp_path, source)))
    assert (result.status, result.teardown) == ("done", None)
    assert result.timing.duration_s < 15.0


@pytest.mark.parametrize("forked", ["runaways", "family"])
def test_no_fork_bomb_outlives_its_task(zygote: Lane, tmp_path: Path, forked: str) -> None:
    begin = "pass" if forked == "runaways" else "[os.fork() for _ in range(7)]"
    source = RUNAWAYS.format(begin=begin, sleep=60)
    if forked == "family":
        source = source.replace("range(12)", "range(0)")
    before = set(psutil.pids())
    began_s = time.monotonic()
    outcome = zygote.run(script_task(tmp_path, source, timeout_s=1.0))
    assert outcome.failure_class == "timeout"
    assert time.monotonic() - began_s < 6.0
    zygote_pid = zygote._runner._zygote.pid  # type: ignore[union-attr]
    assert psutil.Process(zygote_pid).children(recursive=True) == []
    left = [pid for pid in set(psutil.pids()) - before if _nonce_of(pid) == zygote._runner.nonce]  # type: ignore[union-attr]
    assert left == []
    assert zygote.run(script_task(tmp_path, "def main():\n    return {}", name="next")).status == "done"


def test_two_hundred_megabytes_of_output_neither_block_nor_fill(zygote: Lane, tmp_path: Path) -> None:
    source = "import os\ndef main():\n    for _ in range(200): os.write(1, b'x' * 2**20)\n    print('the end')"
    result = result_of(zygote, zygote.run(script_task(tmp_path, source, timeout_s=60.0)))
    assert result.status == "done"
    assert len(result.log_tail) <= 8_000
    assert result.log_tail.endswith("the end\n")


def test_a_result_of_two_hundred_megabytes_fails_by_name(zygote: Lane, tmp_path: Path) -> None:
    source = "def main():\n    return {'blob': 'x' * (200 * 2**20)}"
    outcome = zygote.run(script_task(tmp_path, source, timeout_s=60.0))
    assert outcome.failure_class == "app"
    assert "200 MiB, a result file holds 16 at most" in (outcome.message or "")


def test_a_large_result_of_a_task_in_the_worker_fails_as_well(tmp_path: Path) -> None:
    with open_lane(tmp_path / "store", "inline") as lane:
        outcome = lane.run(script_task(tmp_path, "def main():\n    return {'blob': 'x' * (40 * 2**20)}"))
    assert outcome.failure_class == "app"
    assert "40 MiB" in (outcome.message or "")


def _nonce_of(pid: int) -> str | None:
    try:
        return psutil.Process(pid).environ().get("JOULEGRID_NONCE")
    except psutil.Error:
        return None
