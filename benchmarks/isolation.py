"""Does a forked process measure the same as a new interpreter? Joules and latency of one experiment, both ways.

The packaged model generates the same tokens in tasks whose process is forked by a zygote and in tasks whose process
is a new interpreter, in turn. Given are the ratios zygote ÷ spawn, round by round, and the 95 % t interval of their
mean. Joules are whatever the machine offers: without a sensor they are modelled from CPU seconds.

Run: `python -m benchmarks.isolation [--rounds 6]`
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence

from benchmarks.measurement import Series, print_table, ratios, write
from joulegrid.actors.result import ExperimentResult
from joulegrid.cluster.session import ray_session
from joulegrid.jobs.api import run_experiment
from joulegrid.student import student_t

EXPERIMENT = {
    "model": "tiny-lm",
    # One core: two threads that wait for each other turn every disturbance of a shared machine into a tenfold slowdown.
    "resources": {"cpus": 1},
    "pytorch": {"batch_size": 8, "max_new_tokens": 32, "n_prompts": 16, "min_window_seconds": 2.0},
}


def measured(isolation: str, folder: str) -> ExperimentResult:
    """Run the experiment once."""
    result = run_experiment(EXPERIMENT, output=folder, study_name=isolation, execution={"isolation": isolation})
    assert result.status == "done", result.failure
    return result


def quantities(result: ExperimentResult) -> dict[str, float]:
    """Return what is compared; a joule that is unknown is left out."""
    metrics = result.metrics or {}
    found = {
        "output tokens/s": metrics["throughput"]["output_tokens_per_s"],
        "time to first token p50, s": metrics["latency"]["time_to_first_token_s"]["p50"],
        "inter-token latency p50, s": metrics["latency"]["inter_token_latency_s"]["p50"],
    }
    joules = {f"J/{per.unit}": per.energy_j for per in result.energy_per or [] if per.energy_j is not None}
    return found | joules


def interval(series: Series) -> tuple[float, float]:
    """Return the 95 % t interval of the mean."""
    n = len(series.values)
    mean = sum(series.values) / n
    deviation = (sum((value - mean) ** 2 for value in series.values) / (n - 1)) ** 0.5
    half = student_t(n - 1) * deviation / n**0.5
    return mean - half, mean + half


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both ways in turn; who begins alternates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args(arguments)
    rows: dict[str, dict[str, Series]] = {"zygote": {}, "spawn": {}}
    provenance = None
    with ray_session(), tempfile.TemporaryDirectory() as folder:
        for number in range(given.rounds):
            for isolation in ("zygote", "spawn") if number % 2 else ("spawn", "zygote"):
                result = measured(isolation, folder)
                provenance = result.energy.provenance if result.energy else None
                for name, value in quantities(result).items():
                    rows[isolation].setdefault(name, Series(f"{isolation}: {name}", name, [])).values.append(value)
    compared = [ratios(rows["zygote"][name], rows["spawn"][name]) for name in rows["spawn"]]
    every = [*rows["zygote"].values(), *rows["spawn"].values()]
    print_table(f"one experiment both ways (joules: {provenance})", every)
    print_table("ratio, round by round", compared)
    intervals = {series.name: interval(series) for series in compared}
    for name, (low, high) in intervals.items():
        print(
            f"{name}: mean ratio in [{low:.3f}, {high:.3f}] (95 %), {'includes' if low <= 1 <= high else 'excludes'} 1"
        )
    write("isolation", [*every, *compared], {"rounds": given.rounds, "provenance": provenance, "intervals": intervals})


if __name__ == "__main__":
    main()
