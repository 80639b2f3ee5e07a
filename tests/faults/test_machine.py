"""The machine under a run misbehaves: its clock is set, a task eats its memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from joulegrid.cluster.storage import Store
from joulegrid.jobs.state.lease import read_lease
from tests.faults.conftest import Trials
from tests.faults.manifest_watch import ManifestWatch
from tests.faults.processes import children, of_runs, wait_until
from tests.faults.trial import HELD_AT_3

# libfaketime 0.9.10 answers EINVAL to an absolute sleep on the monotonic clock, which it shall not fake: past it.
SLEEP = """
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
    return syscall(SYS_clock_nanosleep, clock, flags, until, left) ? errno : 0;
}
"""
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


def compiled(folder: Path, source: str) -> Path:
    """Compile a C source to a shared library."""
    (folder / "sleep.c").write_text(source)
    command = ["cc", "-shared", "-fPIC", "-o", str(folder / "sleep.so"), str(folder / "sleep.c")]
    subprocess.run(command, check=True)
    return folder / "sleep.so"


@pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime (apt-get install libfaketime)")
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (apt-get install gcc)")
def test_a_clock_that_is_set_mid_run_moves_no_limit_no_gap_and_no_lease(trial: Trials, tmp_path: Path) -> None:
    limits = {"config_gap_seconds": 0.3, "experiment_timeout_seconds": 120.0, "wall_clock_timeout_hours": 0.5}
    one = trial(HELD_AT_3, [1, 2, 3, 4], execution=limits)
    clock = tmp_path / "clock"
    clock.write_text("+0")
    preloaded = f"{compiled(tmp_path, SLEEP)} {LIBRARIES[0]}"
    faked = {"LD_PRELOAD": preloaded, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    faked |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "JOULEGRID_LEASE_STALE_S": "3"}
    with ManifestWatch(Path(one.output)):
        process = one.start(**faked)
        one.until(process, lambda: "3" in one.executions())
        for step_s in (HOUR_S, -HOUR_S):
            clock.write_text(f"{step_s:+d}")
            _wait_for_renewal(one.store, step_s)
            refused = one.run("--quiet", JOULEGRID_LEASE_STALE_S="3")  # by the right clock
            assert (refused.code, "is driven by process" in refused.err) == (1, True), refused.err
        one.let_go()
        ended = one.end(process)
    assert ended.code == 0, ended.err
    assert set(one.executions().values()) == {1}
    assert 0 < ended.result["duration_s"] < HOUR_S / 2
    one.check(ended)


def _wait_for_renewal(store: Store, step_s: int) -> None:
    """Wait until the driver has renewed its lease by the clock that was set."""

    def is_renewed() -> bool:
        lease = read_lease(store)
        return lease is not None and abs(lease.renewed_s - time.time() - step_s) < HOUR_S / 2

    wait_until(is_renewed)


def test_a_task_that_the_kernel_kills_for_its_memory_is_oom_host_and_the_study_goes_on(trial: Trials) -> None:
    one = trial(OVERSIZED, ["first", "big", "last"], execution={"max_retries": {"oom_host": 1}})
    with memory_cgroup(300 * 2**20) as group, ManifestWatch(Path(one.output)):
        process = one.start()
        one.until(process, one.executions)
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
