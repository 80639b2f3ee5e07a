"""The conditions that a timing held: cores, threads, clock frequency, load, and what others took of the cores.

Read from /proc and /sys; what this machine hides is null.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from joulegrid.kernels.timing.gpu_conditions import GpuConditions, GpuSnapshot, gpu_conditions, gpu_snapshot

_LOOK_S = 0.1
FIRST = -20
"""The niceness that is asked for; without the right to it things stay as they are."""
_IDLE, _WAITING, _STOLEN = 3, 4, 7
"""Columns of a `cpu` line in proc(5) `/proc/stat`; guests are counted in the first two already."""
_COLUMNS = 8


class Conditions(BaseModel):
    """What was the same, or was not, while members were timed."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    cores: list[int]
    """Logical CPUs that the timed processes were pinned to; empty where they were not."""
    judge_cores: list[int]
    """Those of the judge meanwhile; on a machine with a single core both share it."""
    threads: int
    """torch's threads in the timed processes."""
    niceness: int | None
    """Of the timed processes: -20 goes before all others, 0 where that was refused; null where nothing was timed."""
    busy_share: float | None
    """Share of the time in which the timed cores were not idle, the timed processes included."""
    stolen_share: float | None
    """Share that the hypervisor gave to others; one that hides it says 0."""
    load_before: float | None
    """Runnable tasks of the whole machine, mean of the minute before."""
    load_after: float | None
    """The same at the end."""
    mhz_before: float | None
    """Clock of the first timed core; a virtual machine shows its nominal one."""
    mhz_after: float | None
    """The same at the end."""
    governor: str | None
    """Frequency governor of the first timed core; null where the kernel or hypervisor hides it."""
    gpu: GpuConditions | None = None
    """The GPU's clocks and what held them back; null on a CPU, or where NVML cannot be read."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What can be read at one moment."""

    ticks: dict[int, list[int]]
    load: float | None
    mhz: float | None
    gpu: GpuSnapshot | None = None


def snapshot(cores: Sequence[int], device: str = "cpu") -> Snapshot:
    """Read counters, load and frequency now, and those of torch's GPU."""
    gpu = gpu_snapshot(current_gpu()) if device == "cuda" else None
    return Snapshot(_ticks(), _load(), _mhz(cores[0]) if cores else None, gpu)


def current_gpu() -> str:
    """Return the UUID of the GPU that torch uses."""
    import torch

    return str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)


def conditions(cores: Sequence[int], threads: int, niceness: int | None, before: Snapshot) -> Conditions:
    """Return what held between a snapshot and now."""
    after = snapshot(cores, "cpu" if before.gpu is None else "cuda")
    busy, stolen = _shares(cores, before.ticks, after.ticks)
    return Conditions(
        cores=list(cores),
        judge_cores=sorted(os.sched_getaffinity(0)),
        threads=threads,
        niceness=niceness,
        busy_share=busy,
        stolen_share=stolen,
        load_before=before.load,
        load_after=after.load,
        mhz_before=before.mhz,
        mhz_after=after.mhz,
        governor=_governor(cores[0]) if cores else None,
        gpu=gpu_conditions(before.gpu, after.gpu, frozenset({os.getpid()})),
    )


def quiet_cores(count: int) -> list[int]:
    """Return the cores of this process that were idle most during a tenth of a second, `count` of them."""
    before = _ticks()
    time.sleep(_LOOK_S)
    after = _ticks()
    allowed = sorted(os.sched_getaffinity(0))

    def busy(core: int) -> float:
        return _shares([core], before, after)[0] or 0.0

    # Of cores that are equally idle the last is taken: interrupts go to the first ones.
    return sorted(sorted(allowed, key=lambda core: (busy(core), -core))[:count])


def prefer(task: int) -> int | None:
    """Let a thread of this machine go before others where this process may say so; return its niceness."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, task, FIRST)
        # Where sessions are scheduled as groups (autogroup of sched(7)) niceness counts inside a session alone.
        Path(f"/proc/{task}/autogroup").write_text(str(FIRST), encoding="ascii")
    with suppress(ProcessLookupError):
        return os.getpriority(os.PRIO_PROCESS, task)
    return None


def waited_ns(pid: int) -> int | None:
    """Return how long a process's first thread has waited for a core so far; `None` where the kernel does not count."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return None


@contextmanager
def preferred() -> Iterator[None]:
    """Let the judge's own thread go first inside the block, so that an answer is seen when it comes."""
    before, group = os.getpriority(os.PRIO_PROCESS, 0), _group_niceness()
    prefer(threading.get_native_id())
    try:
        yield
    finally:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, before)
            if group is not None:
                Path("/proc/self/autogroup").write_text(str(group), encoding="ascii")


def _group_niceness() -> int | None:
    """Niceness of this session, where sessions are scheduled as groups: `/autogroup-25 nice 0`."""
    try:
        return int(Path("/proc/self/autogroup").read_text(encoding="ascii").split()[-1])
    except (OSError, IndexError, ValueError):
        return None


@contextmanager
def off_cores(cores: Sequence[int]) -> Iterator[None]:
    """Keep the judge off these cores inside the block, where others remain to it; torch has a thread for each of them.

    More threads than cores would wait for each other in turn: verifying outputs took four times as long.
    """
    before = os.sched_getaffinity(0)
    left = before - set(cores) or before
    os.sched_setaffinity(0, left)
    try:
        with threads(len(left)):
            yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """Keep this thread on these cores inside the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores) or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads inside the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _ticks() -> dict[int, list[int]]:
    found = {}
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    for line in lines:
        name, *columns = line.split()
        if name.startswith("cpu") and name[3:].isdigit():
            found[int(name[3:])] = [int(column) for column in columns[:_COLUMNS]]
    return found


def _shares(
    cores: Sequence[int], before: dict[int, list[int]], after: dict[int, list[int]]
) -> tuple[float | None, float | None]:
    spent = [0] * _COLUMNS
    for core in cores:
        pairs = zip(before.get(core, []), after.get(core, []), strict=False)
        spent = [total + late - early for total, (early, late) in zip(spent, pairs, strict=False)] or spent
    if len(spent) < _COLUMNS or sum(spent) <= 0:
        return None, None
    return 1 - (spent[_IDLE] + spent[_WAITING]) / sum(spent), spent[_STOLEN] / sum(spent)


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _mhz(core: int) -> float | None:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
    if path.is_file():
        return int(path.read_text(encoding="ascii")) / 1e3
    try:
        blocks = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")
    except OSError:
        return None
    for block in blocks:
        fields = dict(line.replace("\t", "").split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields.get("processor") == str(core) and "cpu MHz" in fields:
            return float(fields["cpu MHz"])
    return None


def _governor(core: int) -> str | None:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor")
    return path.read_text(encoding="ascii").strip() if path.is_file() else None
