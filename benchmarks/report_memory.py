"""What a report costs over many results: seconds a result, and the peak of memory, each size in a process of its own.

The run folder is made up: every result is a task's real form (two cycles of a script's experiment, 100 packages in its
environment, 9 kB), with its own key, marker and hash; every 50th was measured after an update of torch, so that there
are two strata. The process only reads it: StudyResult, `summary.parquet`, no figures.

Run: `python -m benchmarks.report_memory [--results 2000 20000]`
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measurement import Series, print_table, write
from joulegrid.actors.result import ExperimentResult, LaneRecord, Timing, WindowResult
from joulegrid.cluster.environment import capture
from joulegrid.cluster.power.energy import Energy

CHILD = """
import json, resource, sys, time
from joulegrid.cluster.storage import open_store
from joulegrid.jobs.report.assembly import assemble
began_s = time.perf_counter()
study = assemble(open_store(sys.argv[1], durable=False), write_summary=True)
print(json.dumps({
    "seconds": time.perf_counter() - began_s,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "done": study.counts.done,
    "rows": study.n_summary_rows,
    "kept": len(study.summary),
    "strata": len(study.strata),
}))
"""


def make_run(folder: Path, n_results: int) -> None:
    """Write results and markers of a finished run, two cycles of each experiment."""
    whole = json.loads(_result().model_dump_json())
    for number in range(n_results):
        index, cycle = divmod(number, 2)
        key = hashlib.sha256(str(index).encode()).hexdigest()[:16]
        whole |= {"key": key, "index": index, "cycle": cycle, "label": f"x={index}"}
        whole["axes"] = {"script.globals.x": index}
        whole["metrics"] = {"double": 2 * index, "loss": {"p50": index / 7, "p99": index / 3}, "verdict": "fine"}
        whole["environment"]["packages"]["torch"] = "2.14.0" if index % 50 == 49 else "2.13.0"
        data = json.dumps(whole).encode()
        path = f"results/{key[:2]}/x_{key[:8]}_c{cycle}-a0"
        place = folder / path / "result.json"
        place.parent.mkdir(parents=True)
        place.write_bytes(data)
        marker = folder / "commit" / key[:2] / f"{key}-c{cycle}"
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(json.dumps({"attempt": 0, "path": path, "sha256": hashlib.sha256(data).hexdigest()}))
    head = {"study_name": "made-up", "state": "done", "n_cycles": 2, "counts": {"n_tasks": n_results, "failed": 0}}
    (folder / "manifest.json").write_text(json.dumps({**head, "n_experiments": -(-n_results // 2), "tasks": []}))


def measured(folder: Path) -> dict[str, Any]:
    """Read a run in a fresh process; return seconds, peak of resident memory in MiB, and what was found."""
    done = subprocess.run([sys.executable, "-c", CHILD, str(folder)], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _result() -> ExperimentResult:
    packages = {f"package-{number}": f"{number}.0.{number}" for number in range(100)}
    return ExperimentResult(
        status="done",
        study_name="made-up",
        run="made-up_1",
        key="",
        label="",
        index=0,
        cycle=0,
        attempt=0,
        axes={},
        effective_config={"workload": "script", "script": {"path": "s.py"}},
        lane=LaneRecord(lane="n/cpu0", node="n", device="cpu", cpus=[0], isolation="zygote"),
        timing=Timing(started_at="2026-01-01T00:00:00Z", duration_s=1.0),
        environment=capture().model_copy(update={"packages": packages, "gpus": []}),
        metrics={},
        windows=[_window()],
        headline="main",
        work={"call": 1.0},
        energy_per=[],
        log_tail="a line of the log\n" * 100,
    )


def _window() -> WindowResult:
    energy = Energy(
        energy_j=2.0,
        low_j=1.0,
        high_j=3.0,
        source="model",
        provenance="modelled",
        scope="cpu_package",
        interval="made up",
    )
    return WindowResult(name="main", t0_ns=0, t1_ns=10**9, seconds=1.0, cpu_s=0.9, repeats=1, energy=energy)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make, read and print; write the numbers beside the other benchmarks'."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, nargs="+", default=[2_000, 20_000])
    rows = []
    for n_results in parser.parse_args(arguments).results:
        with tempfile.TemporaryDirectory() as folder:
            make_run(Path(folder), n_results)
            found = measured(Path(folder))
        assert (found["done"], found["strata"]) == (n_results, 2), found
        rows.append(Series(f"peak of memory, {n_results:,} results", "MiB", [found["peak_mib"]]))
        rows.append(Series(f"a result, of {n_results:,}", "µs", [found["seconds"] / n_results * 1e6]))
    print_table("report of a made-up run", rows)
    write("report_memory", rows, {})


if __name__ == "__main__":
    main()
