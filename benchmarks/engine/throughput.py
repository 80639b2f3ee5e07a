"""Tasks a second: without a process of their own, with one, and against what people use instead."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray

from benchmarks.engine.studies import NO_OP, PRINTING, tasks_per_second
from benchmarks.measurement import Series, ratios
from benchmarks.task_overhead import joulegrid, max_calls
from joulegrid.cluster.session import ray_session

LANES = 2
INLINE_TASKS = 3_000
PROCESS_TASKS = 40
SCRIPTS = 60


def no_ops(rounds: int) -> list[Series]:
    """Compare no-op tasks that are stored durably with a bare loop over Ray actors that stores nothing."""
    ours = Series("Joulegrid inline, result and marker on disk", "tasks/s")
    bare = Series("Ray actors, one call in flight each", "calls/s")
    writes = Series("objects under results/ and commit/ per task", "objects")
    with ray_session():
        for _ in range(rounds):
            bare.values.append(_bare_calls_per_second(INLINE_TASKS))
            with tempfile.TemporaryDirectory() as folder:
                ours.values.append(tasks_per_second(Path(folder), INLINE_TASKS, "inline"))
                writes.values.append(_objects_per_task(Path(folder)))
    return [ours, bare, ratios(ours, bare), writes]


def fresh_processes(rounds: int) -> list[Series]:
    """Compare a task in a fresh process that finds torch imported with Ray's own way to one."""
    ours, theirs = Series("Joulegrid (zygote)", "s/task"), Series("Ray max_calls=1 + import torch", "s/task")
    with ray_session():
        for _ in range(rounds):
            ours.values.append(joulegrid(PROCESS_TASKS))
            theirs.values.append(max_calls(PROCESS_TASKS // 4))
    return [ours, theirs, ratios(theirs, ours)]


def scripts(rounds: int) -> list[Series]:
    """Compare unmodified scripts in fresh processes with a pool of threads that starts `python script.py`."""
    ours, theirs = Series("Joulegrid (zygote)", "scripts/s"), Series("pool of two `python script.py`", "scripts/s")
    with ray_session():
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                ours.values.append(tasks_per_second(Path(folder), SCRIPTS, "zygote", PRINTING))
                theirs.values.append(_pool_scripts_per_second(Path(folder) / "no_op.py"))
    return [ours, theirs, ratios(ours, theirs)]


class _Idle:
    def call(self, number: int) -> int:
        return number


def _bare_calls_per_second(calls: int) -> float:
    actor: Any = ray.remote(num_cpus=1)(_Idle)
    actors = [actor.remote() for _ in range(LANES)]
    ray.get([one.call.remote(0) for one in actors])
    began_s = time.perf_counter()
    busy = {one.call.remote(0): one for one in actors}
    for _ in range(calls):
        ready, _ = ray.wait(list(busy))
        one = busy.pop(ready[0])
        ray.get(ready[0])
        busy[one.call.remote(0)] = one
    seconds = time.perf_counter() - began_s
    ray.get(list(busy))
    for one in actors:
        ray.kill(one)
    return calls / seconds


def _objects_per_task(folder: Path) -> float:
    kept = [path for kind in ("results", "commit") for path in folder.glob(f"*/{kind}/**/*") if path.is_file()]
    return len(kept) / len(list(folder.glob("*/commit/*/*")))


def _pool_scripts_per_second(script: Path) -> float:
    began_s = time.perf_counter()
    with ThreadPoolExecutor(LANES) as pool:
        list(
            pool.map(
                lambda _: subprocess.run([sys.executable, script], capture_output=True, check=True), range(SCRIPTS)
            )
        )
    return SCRIPTS / (time.perf_counter() - began_s)


__all__ = ["NO_OP", "fresh_processes", "no_ops", "scripts"]
