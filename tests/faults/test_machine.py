"""The machine under a run misbehaves: its clock is set, a task eats its memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.conftest import Trials
from tests.faults.manifest_watch import ManifestWatch
from tests.faults.processes import children, of_runs, wait_until
from tests.faults.trial import HELD_AT_3

LIBRARIES = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
HOUR_S = 3_600
OVERSIZED = """
def main():
    ran()
    if x == 'first':
        wait()
    if x == 'big':
        return {'size': len(bytearray(b'y' * 2**30))}
    return {'sound': 1}
"""


@pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime (apt-get install libfaketime)")
def test_a_clock_that_is_set_mid_run_moves_no_limit_no_gap_and_no_lease(trial: Trials, tmp_path: Path) -> None:
    body = HELD_AT_3 + "\n"
    limits = {"config_gap_seconds": 0.3, "experiment_timeout_seconds": 120.0, "wall_clock_timeout_hours": 0.5}
    one = trial(body, [1, 2, 3, 4], execution=limits)
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = {"LD_PRELOAD": str(LIBRARIES[0]), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    faked |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "JOULEGRID_LEASE_STALE_S": "3"}
    with ManifestWatch(Path(one.output)):
        process = one.start(**faked)
        wait_until(lambda: "3" in one.executions(), why=lambda: str(process.poll()))
        for step_s in (HOUR_S, -HOUR_S):
            clock.write_text(f"{step_s:+d}")
            _wait_for_renewal(one.store.get, step_s)
            refused = one.run("--quiet", JOULEGRID_LEASE_STALE_S="3")  # by the right clock
            assert (refused.code, "is driven by process" in refused.err) == (1, True), refused.err
        one.let_go()
        ended = one.end(process)
    assert ended.code == 0, ended.err
    assert set(one.executions().values()) == {1}
    assert 0 < ended.result["duration_s"] < HOUR_S / 2
    one.check(ended)


def _wait_for_renewal(get: object, step_s: int) -> None:
    """Wait until the driver has renewed its lease by the clock that was set."""
    import json
    import time

    def renewed() -> bool:
        seen_s = json.loads(get("lease"))["renewed_s"]  # type: ignore[operator]
        return abs(seen_s - time.time() - step_s) < HOUR_S / 2

    wait_until(renewed)


def test_a_task_that_the_kernel_kills_for_its_memory_is_oom_host_and_the_study_goes_on(trial: Trials) -> None:
    one = trial(OVERSIZED, ["first", "big", "last"], execution={"max_retries": {"oom_host": 1}})
    with memory_cgroup(300 * 2**20) as group, ManifestWatch(Path(one.output)):
        process = one.start()
        wait_until(one.executions, why=lambda: str(process.poll()))
        (zygote,) = (pid for worker in of_runs(one.head, b"ray::Worker") for pid in children(worker))
        (group / "cgroup.procs").write_text(str(zygote))  # what it forks from now on is limited
        one.let_go()
        ended = one.end(process)
    assert ended.code == 1, ended.err
    assert dict(one.executions()) == {"first": 1, "big": 2, "last": 1}
    (failure,) = ended.result["failures"]
    assert (failure["failure_class"], failure["label"]) == ("oom_host", "x=big")
    one.check(ended, failed=1)


@contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[Path]:
    """Make a memory cgroup of either version for the length of a block; skip the test where that is not allowed."""
    group = next(root for root in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")) if root.is_dir())
    group = group / f"joulegrid-faults-{os.getpid()}"
    try:
        group.mkdir()
        limits = {"memory.limit_in_bytes": limit_bytes, "memory.max": limit_bytes, "memory.swap.max": 0}
        written = [name for name in limits if (group / name).exists()]
        for name in written:
            (group / name).write_text(str(limits[name]))
    except OSError:
        pytest.skip("no memory cgroup can be made here")
    try:
        if not {"memory.limit_in_bytes", "memory.max"} & set(written):
            pytest.skip("no memory controller here")
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text().split())
        with suppress(OSError):
            group.rmdir()
