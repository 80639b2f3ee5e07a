"""Each class of failure from a real cause, and what becomes of chains of exceptions."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from joulegrid.actors.lane import Lane
from joulegrid.actors.raised import classify
from joulegrid.actors.supervisor import Supervisor
from joulegrid.cases.contract import LaneCannotError
from joulegrid.cluster.memory_kills import memory_kills
from tests.actors.lanes import open_lane, result_of, script_task

if TYPE_CHECKING:
    from collections.abc import Callable

CGROUPS = Path("/sys/fs/cgroup")
LIMIT_BYTES = 128 * 2**20
ENDINGS = {
    "invalid": (
        "from joulegrid.cases.contract import LaneCannotError\ndef main():\n    raise LaneCannotError('fp8')",
        "fp8",
    ),
    "app": ("def main():\n    raise ValueError('no such layer')", "no such layer"),
    "oom_device": ("def main():\n    raise RuntimeError('CUDA error: out of memory')", "out of memory"),
    "oom_host": ("def main():\n    return {'x': len(bytearray(2**62))}", ""),
    "import": ("import no_such_module\ndef main():\n    pass", "no_such_module"),
    "crash": ("import os, signal\ndef main():\n    os.kill(os.getpid(), signal.SIGRTMIN + 3)", "SIGRTMIN+3"),
    "no_result": ("import os\ndef main():\n    os._exit(0)", "no result"),
    "timeout": ("import time\ndef main():\n    time.sleep(60)", "the limit was reached"),
}


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    with open_lane(tmp_path_factory.mktemp("store")) as opened:
        yield opened


@pytest.mark.parametrize("failure_class", ENDINGS)
def test_each_class_has_a_cause(lane: Lane, tmp_path: Path, failure_class: str) -> None:
    source, message = ENDINGS[failure_class]
    outcome = lane.run(script_task(tmp_path, source, timeout_s=1.0 if failure_class == "timeout" else 30.0))
    assert outcome.failure_class == failure_class
    assert message in (outcome.message or "")


def test_a_sigkill_from_anybody_is_a_crash(lane: Lane, tmp_path: Path) -> None:
    outcome = lane.run(script_task(tmp_path, "import os\ndef main():\n    os.kill(os.getpid(), 9)"))
    assert (outcome.failure_class, outcome.message) == ("crash", "died of signal 9 (SIGKILL)")


def test_a_sigkill_from_the_kernel_for_lack_of_memory_is_oom_host(lane: Lane, tmp_path: Path) -> None:
    runner = lane._runner
    assert isinstance(runner, Supervisor)
    assert runner._zygote is not None
    with _memory_cgroup() as group:
        if group is None:
            pytest.skip("no memory cgroup can be made here")
        (group / "cgroup.procs").write_text(str(runner._zygote.pid))
        source = "def main():\n    return {'x': len(bytes(1) * 2**30)}"
        outcome = lane.run(script_task(tmp_path, source))
        assert outcome.failure_class == "oom_host"
        failure = result_of(lane, outcome).failure
        assert failure is not None
        assert failure.signal == 9
        assert "ran out of memory" in failure.message
        assert lane.run(script_task(tmp_path, "def main():\n    return {}", name="after")).status == "done"
        runner.stop()  # so that the group is empty


def test_a_zygote_that_cannot_start_is_the_lanes_fault(tmp_path: Path) -> None:
    with open_lane(tmp_path / "store") as lane:
        (tmp_path / "fatal_module.py").write_text("import os; os._exit(4)")
        sys.path.insert(0, str(tmp_path))
        try:
            lane._runner.preload = ("fatal_module",)
            lane._runner.stop()
            outcome = lane.run(script_task(tmp_path, "def main():\n    return {}"))
        finally:
            sys.path.remove(str(tmp_path))
        assert outcome.failure_class == "infra"
        assert "zygote died" in (outcome.lane_fault or "")
        lane._runner.preload = ()
        assert lane.run(script_task(tmp_path, "def main():\n    return {}")).lane_fault is None


def test_the_kernels_counter_is_found_in_either_version_of_cgroups(tmp_path: Path) -> None:
    files = {
        "v1": ("4:memory:/a\n0::/", "memory/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3"),
        "v2": ("0::/b", "b/memory.events", "low 0\noom 5\noom_kill 4\noom_group_kill 0"),
        "container": ("0::/not/mounted/here", "memory.events", "oom 5\noom_kill 5"),
    }
    for name, (groups, path, text) in files.items():
        root = tmp_path / name
        (root / "proc/7").mkdir(parents=True)
        (root / "proc/7/cgroup").write_text(groups)
        (root / "sys/fs/cgroup" / path).parent.mkdir(parents=True)
        (root / "sys/fs/cgroup" / path).write_text(text)
    found = [memory_kills(7, tmp_path / name) for name in files]
    assert found == [3, 4, 5]
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text("nr_free_pages 1\noom_kill 9\n")
    assert memory_kills(7, tmp_path) == 9
    assert memory_kills(7, tmp_path / "nothing") is None


def _torch_oom() -> BaseException:
    import torch

    return torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def _cpu_allocator() -> BaseException:
    return RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried …")


CHAINS: dict[str, tuple[Callable[[], BaseException], str]] = {
    "torch's own": (_torch_oom, "oom_device"),
    "cuBLAS": (lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "oom_device"),
    "raised from": (lambda: _raised(ValueError("the model does not fit"), cause=_torch_oom()), "oom_device"),
    "raised while handling": (lambda: _raised(KeyError("x"), context=_torch_oom()), "oom_device"),
    "told not to mention": (lambda: _raised(KeyError("x"), context=_torch_oom(), suppressed=True), "app"),
    "in a group": (lambda: BaseExceptionGroup("two", [ValueError("x"), _torch_oom()]), "oom_device"),
    "torch on the host": (_cpu_allocator, "oom_host"),
    "no memory for a fork": (lambda: OSError(12, "Cannot allocate memory"), "oom_host"),
    "out of something else": (lambda: RuntimeError("out of memory of the good old days"), "app"),
    "a lane that cannot": (lambda: _raised(LaneCannotError("fp8"), cause=ImportError("x")), "invalid"),
    "a missing package": (lambda: ModuleNotFoundError("No module named 'x'"), "import"),
}


@pytest.mark.parametrize("name", CHAINS)
def test_lack_of_memory_is_seen_wherever_it_stands_in_a_chain(name: str) -> None:
    make, failure_class = CHAINS[name]
    assert classify(make()) == failure_class


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    assert classify(first) == "app"


def _raised(
    error: BaseException,
    cause: BaseException | None = None,
    context: BaseException | None = None,
    suppressed: bool = False,
) -> BaseException:
    error.__cause__, error.__context__ = cause, context
    error.__suppress_context__ = suppressed or cause is not None
    return error


@contextmanager
def _memory_cgroup() -> Iterator[Path | None]:
    """Make a small memory cgroup of either version, or give `None` where that is not allowed."""
    name = f"joulegrid-{secrets.token_hex(4)}"
    for parent, limit in ((CGROUPS / "memory", "memory.limit_in_bytes"), (CGROUPS, "memory.max")):
        group = parent / name
        try:
            if parent == CGROUPS:
                (parent / "cgroup.subtree_control").write_text("+memory")
            group.mkdir()
            (group / limit).write_text(str(LIMIT_BYTES))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        try:
            yield group
        finally:
            _remove(group)
        return
    yield None


def _remove(group: Path) -> None:
    limit_s = time.monotonic() + 10.0
    while group.exists() and time.monotonic() < limit_s:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        with contextlib.suppress(OSError):
            group.rmdir()
        time.sleep(0.05)
