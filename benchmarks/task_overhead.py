"""What one task costs beyond its own work, side by side in one run.

A no-op task that finds torch imported, in a fresh process, with two lanes:

* Joulegrid: zygote, supervision, energy query, durable result and commit marker on disk, ledger, manifest;
* Ray `max_calls=1`: a fresh Ray worker for each task, plus `import torch`; nothing is stored;
* `multiprocessing` spawn: a fresh interpreter for each task, plus `import torch`; nothing is stored;
* Ray Tune's grid search: what one further trial costs (slope between two sizes); stores its own records.

Run: `python -m benchmarks.task_overhead [--rounds 5] [--tasks 20]` (Ray Tune needs `pip install 'joulegrid[tune]'`).
Times are seconds per task as the clock on the wall sees them, with both lanes busy.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import ray

from benchmarks.measurement import Series, print_table, ratios, write
from benchmarks.stopwatch import Stopwatch
from joulegrid.cluster.session import ray_session
from joulegrid.jobs.loop.continuing import Choice
from joulegrid.jobs.loop.driver import Options, drive
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.study.load import make_study

LANES = 2
NO_OP = "import torch\nx = 0\ndef main():\n    return {'x': x}\n"


def joulegrid(tasks: int, isolation: str = "zygote") -> float:
    """Seconds per no-op task of a study with a durable store."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "no_op.py"
        script.write_text(NO_OP)
        study = make_study(
            {
                "study_name": "overhead",
                "workload": "script",
                "script": {"path": str(script), "preload": ["torch"]},
                "sweep": {"script.globals.x": list(range(tasks))},
                "resources": {"cpus": 1},
                "execution": {"isolation": isolation},
                "output": folder,
            }
        )
        watch = Stopwatch()
        drive(study, Plan(study), Options(display=watch, choice=Choice(fresh=True), report=False))
    return watch.seconds / tasks


def max_calls(tasks: int) -> float:
    """Seconds per Ray task whose worker is used once and imports torch."""
    fresh: Any = ray.remote(num_cpus=1, max_calls=1, max_retries=0)(_import_torch)
    began_s = time.perf_counter()
    ray.get([fresh.remote() for _ in range(tasks)])
    return (time.perf_counter() - began_s) / tasks


def spawn(tasks: int) -> float:
    """Seconds per task in a new interpreter that imports torch, two at a time."""
    context = multiprocessing.get_context("spawn")
    began_s = time.perf_counter()
    with ProcessPoolExecutor(LANES, mp_context=context, max_tasks_per_child=1) as pool:
        list(pool.map(_import_torch_of, range(tasks)))
    return (time.perf_counter() - began_s) / tasks


def tune(tasks: int) -> float:
    """Seconds that one further no-op trial of a Ray Tune grid search costs."""
    few, many = tasks // 2, tasks + tasks // 2
    return (_tune_seconds(many) - _tune_seconds(few)) / (many - few)


def _tune_seconds(trials: int) -> float:
    from ray import tune as ray_tune

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        tuner = ray_tune.Tuner(
            ray_tune.with_resources(_trial, {"cpu": 1}),
            param_space={"x": ray_tune.grid_search(list(range(trials)))},
            tune_config=ray_tune.TuneConfig(max_concurrent_trials=LANES),
            run_config=ray_tune.RunConfig(storage_path=folder, verbose=0),
        )
        began_s = time.perf_counter()
        tuner.fit()
        return time.perf_counter() - began_s


def _trial(config: dict[str, int]) -> dict[str, int]:
    import torch  # noqa: F401 - the same import as everywhere

    return {"x": config["x"]}


def _import_torch() -> None:
    import torch  # noqa: F401


def _import_torch_of(_: int) -> None:
    import torch  # noqa: F401


def contestants(with_tune: bool) -> dict[str, Callable[[int], float]]:
    """Return what is compared, by name."""
    found: dict[str, Callable[[int], float]] = {
        "Joulegrid (zygote)": joulegrid,
        "Joulegrid (spawn)": lambda tasks: joulegrid(tasks, "spawn"),
        "Ray max_calls=1 + import": max_calls,
        "multiprocessing spawn + import": spawn,
    }
    return found | ({"Ray Tune, per trial": tune} if with_tune else {})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all contestants in turn, round by round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=20)
    given = parser.parse_args(arguments)
    logging.getLogger("ray").setLevel(logging.ERROR)
    with_tune = find_spec("pandas") is not None and find_spec("tensorboardX") is not None
    timed = contestants(with_tune)
    rows = {name: Series(name, "s/task") for name in timed}
    with ray_session():
        for _ in range(given.rounds):
            for name, measure in timed.items():
                rows[name].values.append(measure(given.tasks))
    ours, *others = rows.values()
    compared = [ratios(other, ours) for other in others]
    print_table("seconds per task, two lanes", list(rows.values()))
    print_table("how many times Joulegrid's", compared)
    if not with_tune:
        print("Ray Tune was left out: pip install 'joulegrid[tune]'")
    write("task_overhead", [*rows.values(), *compared], {"rounds": given.rounds, "tasks": given.tasks, "lanes": LANES})


if __name__ == "__main__":
    main()
