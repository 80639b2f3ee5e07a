"""Whatever a candidate does, and whoever is killed: no process, folder, mount or shared memory of the judge is left."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from joulegrid.kernels.judge import process_tree, scratch
from joulegrid.kernels.judge.limits import Checks, Limits
from joulegrid.kernels.judge.verify import Settings, verify
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.problem import Problem
from tests.kernels.judge.conftest import Written

OPEN = Settings(dtypes=("fp32",), draws=2, checks=Checks(static_gate=False), limits=Limits(call_timeout_s=1))
SMALL = replace(OPEN, limits=replace(OPEN.limits, memory_bytes=256 << 20))
FORKING = replace(OPEN, limits=replace(OPEN.limits, processes=4))
JUDGE = """
import sys, threading, time
from pathlib import Path
from joulegrid.cases.catalog import case_folder
from joulegrid.cases.manifest import read_problem
from joulegrid.kernels.judge import process_tree
from joulegrid.kernels.judge.candidate import read_candidate
from joulegrid.kernels.judge.limits import Checks
from joulegrid.kernels.judge.verify import Settings, verify
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.timing.ground import make_ground
from joulegrid.kernels.timing.result import TimingSettings
from joulegrid.kernels.timing.timing import candidate_on

zygote, problem, candidate = Zygote(), read_problem(case_folder("rmsnorm")), read_candidate(Path(sys.argv[2]))

def tell():
    seen, since = [], time.monotonic()
    while not seen or time.monotonic() - since < 1:  # the same children for a second: one of them hangs
        found = process_tree.below(zygote.pid) if zygote.pid else []
        if found != seen:
            seen, since = found, time.monotonic()
        time.sleep(0.02)
    print(zygote.pid, zygote._scratch.path, *seen, flush=True)

threading.Thread(target=tell, daemon=True).start()
with zygote:
    if sys.argv[1] == "verify":
        verify(problem, candidate, Settings(checks=Checks(static_gate=False)), zygote=zygote)
    else:
        settings = TimingSettings(dims=problem.tiny.dims, baselines=("eager",))
        candidate_on(zygote, make_ground(problem, settings), candidate)
"""

OTHERS = ("sem.", "ray", "plasma", "psm_", "torch_", "__KMP", "PostgreSQL")
"""Beginnings of what other tests have in shared memory at the time."""


@pytest.fixture
def left(zygote: Zygote) -> Callable[[], dict[str, object]]:
    """What of a judge's can be on a machine, the zygote that is waiting apart."""

    def look() -> dict[str, object]:
        gc.collect()  # memory goes with the last tensor in it
        descriptors = [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        return {
            "processes": process_tree.below(zygote.pid),
            "scratch": [] if zygote._scratch is None else list(zygote._scratch.path.iterdir()),
            "memory": sum("memfd:" in one for one in descriptors),
            "shared": sorted(path for path in Path("/dev/shm").iterdir() if not path.name.startswith(OTHERS)),
            "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if "joulegrid" in line],
        }

    return look


@pytest.mark.parametrize(
    ("forward", "settings", "verdicts"),
    [
        ("import ctypes; ctypes.CDLL(None).pause()", OPEN, "timeout"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", OPEN, "timeout passed"),
        ("import os; os.killpg(0, 9)", OPEN, "forbidden"),
        ("import os; os.kill(-1, 9)", OPEN, "forbidden"),
        ("import os; os.closerange(3, 256)", OPEN, "tampering"),
        ("import os; os.abort()", OPEN, "runtime_error"),
        ("kept = []\nwhile True: kept.append(bytearray(1 << 26))", SMALL, "runtime_error"),
        ("import os, time\nfor _ in range(6): os.fork()\ntime.sleep(60)", FORKING, "forbidden"),
        ("import os, time\nif not os.fork(): os.setsid(); time.sleep(60)", FORKING, "forbidden passed"),
    ],
)
def test_after_a_candidate_that_misbehaves_nothing_is_left(
    zygote: Zygote,
    rmsnorm: Problem,
    written: Written,
    left: Callable[[], dict[str, object]],
    forward: str,
    settings: Settings,
    verdicts: str,
) -> None:
    verify(rmsnorm, written("raise ValueError"), OPEN, zygote=zygote)  # now there is a zygote
    before = left()
    found = verify(rmsnorm, written(forward), settings, zygote=zygote)
    assert found.verdict in verdicts.split(), found.evidence
    assert left() == before


def _gone(pid: int) -> bool:
    return process_tree._ended(pid)


@pytest.mark.parametrize(("way", "number"), [("verify", signal.SIGKILL), ("time", signal.SIGINT)])
def test_after_a_judge_that_is_killed_nothing_is_left(tmp_path: Path, way: str, number: int, written: Written) -> None:
    candidate = written("import time; time.sleep(600)").path
    judge = subprocess.Popen(
        [sys.executable, "-c", JUDGE, way, str(candidate)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert judge.stdout is not None
        zygote, folder, *children = judge.stdout.readline().split()
        assert children and Path(folder).is_dir()
        judge.send_signal(number)
        judge.wait(30)
        deadline = time.monotonic() + 20
        while Path(folder).exists() or not all(_gone(int(pid)) for pid in (zygote, *children)):
            assert time.monotonic() < deadline, "the judge's processes or its folder are left"
            time.sleep(0.02)
    finally:
        judge.kill()
        judge.communicate()


def test_a_folder_that_nobody_holds_any_more_is_removed_by_the_next_judge(tmp_path: Path) -> None:
    held, dropped = scratch.make_root(), scratch.make_root()
    (dropped.folder() / "file").write_text("left")
    os.close(dropped.descriptor)  # as a judge and a zygote that were both killed
    try:
        third = scratch.make_root()
        assert held.path.exists() and third.path.exists() and not dropped.path.exists()
        third.remove()
    finally:
        held.remove()
