"""Realistic results and runs for tests: a study of batch sizes, as workers and driver would leave it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joulegrid.actors.costs import EnergyPer
from joulegrid.actors.result import (
    ExperimentResult,
    Failure,
    LaneRecord,
    Timing,
    WindowResult,
)
from joulegrid.cluster.environment import Environment, Git
from joulegrid.cluster.node import Cpu, Gpu
from joulegrid.cluster.power.energy import Energy, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from joulegrid.cluster.storage import Store

HASH = "ab12cd34ef56ab78"
STUDY = """study_name: batch-sizes
model: tiny-lm
sweep:
  pytorch.batch_size: [1, 8]
execution:
  n_cycles: 3
"""
START_NS = 5_000_000_000_000


def environment(*, gpu: bool = True) -> Environment:
    """A server with one GPU, or the same without."""
    board = Gpu(
        uuid="GPU-1",
        name="NVIDIA H200",
        memory_bytes=150_754_820_096,
        driver="570.124.06",
        vbios=None,
        power_limit_w=700.0,
        power_limit_default_w=700.0,
        power_limit_min_w=200.0,
        power_limit_max_w=700.0,
        persistence=True,
        ecc=True,
        mig=False,
        compute_capability="9.0",
        pci="0000:1b:00.0",
        sm_clock_max_mhz=1980,
        memory_clock_max_mhz=3201,
    )
    return Environment(
        hostname="node-1",
        os="Debian GNU/Linux 12",
        kernel="6.1.0",
        python="3.11.9",
        joulegrid="0.1.0",
        cpu=Cpu(
            model="AMD EPYC 9554",
            logical_cores=16,
            physical_cores=8,
            sockets=1,
            numa_nodes=1,
            governor=None,
            max_mhz=3100.0,
            hypervisor=True,
        ),
        memory_bytes=137_438_953_472,
        gpus=[board] if gpu else [],
        gpu_note=None if gpu else "no NVIDIA driver",
        cuda_driver="12.8" if gpu else None,
        packages={"torch": "2.13.0", "transformers": "5.23.0", "ray": "2.60.0", "numpy": "2.4.6"},
        git=Git(commit="0123456789abcdef0123456789abcdef01234567", branch="main", dirty=True),
    )


def measured(energy_j: float) -> Energy:
    """Joules of the GPU's energy counter."""
    return Energy(energy_j=energy_j, source="counter", provenance="measured", scope="gpu_board", device="GPU-1")


def modelled(energy_j: float) -> Energy:
    """Joules of a CPU, between idle and full power."""
    return Energy(
        energy_j=energy_j,
        low_j=energy_j * 0.5,
        high_j=energy_j * 1.75,
        source="model",
        provenance="modelled",
        scope="cpu_package",
        interval="from idle power to the rated power of all cores",
    )


def key_of(index: int) -> str:
    """The made-up key of an experiment."""
    return hashlib.sha256(str(index).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Made:
    """What a test may want to be different about a result."""

    index: int = 0
    cycle: int = 0
    energy: Energy | None = None
    axes: dict[str, Any] = field(default_factory=lambda: {"pytorch.batch_size": 1})
    label: str | None = None
    metrics: dict[str, Any] | None = None
    workload: str = "inference"
    seconds: float = 10.0
    tokens: float = 1000.0


def done(made: Made) -> ExperimentResult:
    """A done task: a prefill window and the headline window `decode`."""
    energy = made.energy or measured(500.0)
    ns = START_NS + 10**9
    windows = [
        WindowResult(
            name="prefill", t0_ns=ns, t1_ns=ns + 10**9, seconds=1.0, cpu_s=0.9, repeats=1, energy=_scaled(energy, 0.1)
        ),
        WindowResult(
            name="decode",
            t0_ns=ns + 2 * 10**9,
            t1_ns=ns + 2 * 10**9 + round(made.seconds * 1e9),
            seconds=made.seconds,
            cpu_s=made.seconds * 0.9,
            repeats=4,
            energy=energy,
            beside=[modelled(80.0)] if energy.scope == "gpu_board" else [],
        ),
    ]
    work = {"output_token": made.tokens, "total_token": made.tokens * 1.5}
    return ExperimentResult(
        **_common(made),
        status="done",
        metrics=_metrics(made) if made.metrics is None else made.metrics,
        windows=windows,
        headline="decode",
        work=work,
        energy_per=[_per(unit, energy, count) for unit, count in work.items()],
        timeseries="timeseries.parquet",
    )


def failed(
    made: Made, failure_class: str = "oom_device", message: str = "out of memory: 3 GiB asked"
) -> ExperimentResult:
    """A failed task with a log."""
    failure = Failure(
        failure_class=failure_class,
        type="OutOfMemoryError",
        message=message,
        traceback="Traceback (most recent call last):\n  ...\nOutOfMemoryError: <3 GiB> & more",
        phase="decode",
        log_tail="loading \x1b[31mweights\x1b[0m\nallocating <cache>\n",
    )
    return ExperimentResult(**_common(made), status="failed", failure=failure)


def _common(made: Made) -> dict[str, Any]:
    gpu = made.energy is None or made.energy.scope == "gpu_board"
    axes = " ".join(f"{path.rpartition('.')[2]}={value}" for path, value in made.axes.items())
    return {
        "study_name": "batch-sizes",
        "run": "batch-sizes_2026-03-01T10-00-00-abcd",
        "key": key_of(made.index),
        "label": axes if made.label is None else made.label,
        "index": made.index,
        "cycle": made.cycle,
        "attempt": 0,
        "axes": made.axes,
        "effective_config": {"workload": made.workload, "model": "tiny-lm", "pytorch": {"dtype": "bfloat16"}},
        "effective": {"pytorch.attention": "sdpa"},
        "inputs": {"model": "sha256:0f0f"},
        "study_yaml": STUDY,
        "lane": LaneRecord(
            lane="node-1/gpu0" if gpu else "node-1/cpu0",
            node="node-1",
            device="cuda" if gpu else "cpu",
            gpu_uuids=["GPU-1"] if gpu else [],
            isolation="zygote",
        ),
        "timing": Timing(started_at="2026-03-01T10:00:00Z", duration_s=made.seconds + 3),
        "environment": environment(gpu=gpu),
    }


def _metrics(made: Made) -> dict[str, Any]:
    return {
        "output_tokens_per_s": made.tokens / made.seconds,
        "total_tokens_per_s": made.tokens * 1.5 / made.seconds,
        "time_to_first_token_s": {"p50": 0.02 * made.seconds / 10, "p99": 0.05},
        "peak_memory_bytes": 17_179_869_184,
    }


def _scaled(energy: Energy, factor: float) -> Energy:
    ends = ("energy_j", "low_j", "high_j")
    scaled = {end: None if getattr(energy, end) is None else getattr(energy, end) * factor for end in ends}
    return energy.model_copy(update=scaled)


def _per(unit: str, energy: Energy, count: float) -> EnergyPer:
    one = _scaled(energy, 1 / count)
    return EnergyPer(unit=unit, energy_j=one.energy_j, low_j=one.low_j, high_j=one.high_j)


def no_energy() -> Energy:
    """What stands where nothing could be read."""
    return unknown("no power source on this node: <none> & nothing modelled")


def inference_results(n_experiments: int = 3, n_cycles: int = 3) -> list[ExperimentResult]:
    """A sweep of batch sizes in which larger batches are faster and cheaper, with a few per cent of noise."""
    results = []
    for index in range(n_experiments):
        for cycle in range(n_cycles):
            noise = 1 + 0.02 * math.sin(7 * index + 3 * cycle)
            seconds = 40.0 / 1.7**index * noise
            made = Made(
                index=index,
                cycle=cycle,
                axes={"pytorch.batch_size": 2**index, "pytorch.dtype": "bfloat16" if index % 2 else "float32"},
                energy=measured(seconds * 380.0 * (1 + 0.01 * math.cos(5 * cycle))),
                seconds=seconds,
                tokens=8192.0,
            )
            results.append(done(made))
    return results


def folder_of(result: ExperimentResult) -> str:
    """Where an attempt lies in the store."""
    return f"results/{result.key[:2]}/point_{result.key[:8]}_c{result.cycle}-a{result.attempt}"


def commit(store: Store, result: ExperimentResult) -> None:
    """Write a result, its power series and its marker."""
    data = result.model_dump_json(indent=1).encode()
    path = folder_of(result)
    store.put(f"{path}/result.json", data)
    if result.windows:
        store.put(f"{path}/timeseries.parquet", power_series(result))
    marker = {"attempt": 0, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "path": path}
    store.put(f"commit/{result.key[:2]}/{result.key}-c{result.cycle}", json.dumps(marker).encode())


def power_series(result: ExperimentResult) -> bytes:
    """Ten readings a second: idle, then high inside the windows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    windows = result.windows or []
    times = list(range(START_NS, windows[-1].t1_ns + 10**9, 10**8))
    inside = [any(window.t0_ns <= time < window.t1_ns for window in windows) for time in times]
    power = [620.0 + 15 * math.sin(n) if hot else 95.0 for n, hot in enumerate(inside)]
    energy = windows[-1].energy
    table = pa.table(
        {
            "t_ns": pa.array(times, pa.int64()),
            "device": [energy.device or "cpu"] * len(times),
            "power_w": pa.array(power, pa.float64()),
            "source": [energy.source] * len(times),
            "provenance": [energy.provenance] * len(times),
            "scope": [energy.scope] * len(times),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def run_folder(folder: Path, results: Sequence[ExperimentResult], **manifest: Any) -> Store:
    """Write a run as a driver leaves it: study, plan, manifest, results and markers."""
    from joulegrid.cluster.storage import open_store

    store = open_store(folder, durable=False)
    tasks = [_task(result) for result in results]
    counts = {status: sum(task["status"] == status for task in tasks) for status in ("done", "failed")}
    for result in results:
        if result.status == "done":
            commit(store, result)
        else:
            store.put(f"{folder_of(result)}/result.json", result.model_dump_json().encode())
    store.put("study.yaml", STUDY.encode())
    store.put("plan.json", json.dumps({"study_design_hash": HASH}).encode())
    about = {
        "study_name": "batch-sizes",
        "study_design_hash": HASH,
        "state": "done",
        "started_at": "2026-03-01T10:00:00+00:00",
        "ended_at": "2026-03-01T10:20:00+00:00",
        "cycle_order": "interleaved",
        "counts": {**counts, "skipped": 0, "pending": 0},
        "tasks": tasks,
    }
    store.put("manifest.json", json.dumps({**about, **manifest}).encode())
    return store


def _task(result: ExperimentResult) -> dict[str, Any]:
    failure = result.failure
    return {
        "index": result.index,
        "key": result.key,
        "cycle": result.cycle,
        "label": result.label,
        "status": result.status,
        "attempt": result.attempt,
        "path": folder_of(result),
        "failure_class": failure.failure_class if failure else None,
        "message": failure.message if failure else None,
    }
