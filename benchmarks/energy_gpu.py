"""What can be found out about one GPU's power sensors, and about ours on it, without an external meter.

Counter against the integral of instant power; linearity over equal pieces of work; short windows against a long one;
square waves of 80–120 ms (does the counter integrate, or sense a part of the time?); repeats; A against A; throughput
with the recorder and without; Zeus beside it where it is installed; the trace of a generation. About 15 minutes. The
GPU should be free of others. `--device simulated` runs the same checks on a simulated board with a sleeping load: that
says that the script works, and nothing about any GPU.

Run: `python -m benchmarks.energy_gpu [--device cuda] [--index 0] [--check linearity …]`
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.energy.gpu_checks import CHECKS, Bench
from benchmarks.energy.gpu_loads import Cuda, Load, Simulated
from benchmarks.measurement import RESULTS, write
from tests.cluster.nvml_simulated.build import Board, simulated_nvml
from tests.cluster.nvml_simulated.record import Recording


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "simulated"), default="cuda")
    parser.add_argument("--index", type=int, default=0, help="which GPU, as CUDA counts")
    parser.add_argument("--check", action="append", choices=tuple(CHECKS))
    parser.add_argument("--scale", type=float, default=1.0, help="shorter than 1: a trial whose figures mean little")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the checks; a simulated board needs its library from the start, so it runs in a process of its own."""
    given = parse(arguments)
    if given.device == "simulated" and "SIMULATED_NVML_FILE" not in os.environ:
        with tempfile.TemporaryDirectory() as folder:
            env = simulated_nvml(Path(folder), boards=[Board(idle_w=Simulated.idle_w, decay_ms=120.0, phase_ms=61.0)])
            env["XDG_CACHE_HOME"] = folder
            command = [
                sys.executable,
                "-m",
                "benchmarks.energy_gpu",
                *(sys.argv[1:] if arguments is None else arguments),
            ]
            sys.exit(subprocess.run(command, env=env, check=False).returncode)
    load: Load = Simulated() if given.device == "simulated" else Cuda(given.index)
    with Recording(os.environ, source="nvml") as recording:
        bench = Bench(load, recording, zeus(load.uuid), given.scale)
        checks = {}
        for name in given.check or CHECKS:
            print(f"== {name}", flush=True)
            checks[name] = CHECKS[name](bench)
            for aim in checks[name]["aims"]:
                print(f"{'met   ' if aim['met'] else 'MISSED'}  {aim['aim']}: {aim['value']}")
        described = recording.describe()
    words = re.sub(r"[^a-z0-9]+", "-", load.name.lower()).strip("-")
    facts = {"provenance": load.provenance, "gpu": load.name, "uuid": load.uuid, "scale": given.scale}
    write(f"{words}-energy", [], {**facts, "recorder": described, "checks": checks}, given.results)


def zeus(uuid: str) -> Any:
    """A monitor of this GPU by Zeus, or `None` where Zeus is not installed."""
    try:
        import pynvml
        from zeus.monitor import ZeusMonitor
    except ImportError:
        return None
    pynvml.nvmlInit()
    index = pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByUUID(uuid))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    listed = visible.split(",") if visible else []
    if str(index) in listed:  # Zeus counts as CUDA does
        index = listed.index(str(index))
    return ZeusMonitor(gpu_indices=[index], cpu_indices=[])


if __name__ == "__main__":
    main()
