"""Does the timer of kernels measure 1.00 where nothing differs? A/A spread on this machine, and what a judgement costs.

* A/A: the unmodified module of each case as its own candidate, in processes of its own, against eager: the ratio's
  estimate, its interval, and the interval of eager against itself beside it;
* a ratio that is known: a candidate that computes everything twice must measure about 0.5;
* what the timer adds to a call: the channel's cost of a series, and of one call in it, by a module that does nothing;
* seconds of one verification of a correct candidate.

A machine that does other things at the time spreads wider; the share of waiting for a core says so.

Run: `python -m benchmarks.kernel_timer [--cases rmsnorm linear_gelu] [--pairs 6]`, up to three minutes a row where
the machine is noisy.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measurement import Series, print_table, write
from joulegrid.cases.catalog import case_folder
from joulegrid.cases.manifest import read_problem
from joulegrid.kernels.judge.candidate import Candidate, read_candidate
from joulegrid.kernels.judge.verify import verify
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.timing.ground import make_ground
from joulegrid.kernels.timing.pairs import Sample, durations
from joulegrid.kernels.timing.result import Timing, TimingSettings
from joulegrid.kernels.timing.slope import channel_ns
from joulegrid.kernels.timing.timing import candidate_on

PRECISION, BUDGET_S = 0.01, 150.0
"""Half-width of the intervals that is tried for, and for how long."""
DIMS = {
    "rmsnorm": {"rows": 128, "width": 1024},
    "linear_gelu": {"rows": 16, "inner": 512, "outer": 1024},
}
"""Light calls: what other programs do to caches and memory shows more in heavier ones."""


def itself(problem: Problem, folder: Path, calls: int = 1) -> Candidate:
    """Return the case's own module as a candidate, its work done once or more often."""
    own_name = rf"(?<![.\w]){problem.class_name}\b"  # not that of torch.nn.LayerNorm
    source = re.sub(own_name, "Reference", problem.file.read_text(encoding="utf-8"))
    body = "    def forward(self, *args, **kwargs):\n"
    body += "        super().forward(*args, **kwargs)\n" * (calls - 1)
    body += "        return super().forward(*args, **kwargs)\n"
    plain = re.sub(r"\bReference\b", "OptimizedModel", source)
    path = folder / f"{problem.name}_{calls}.py"
    again = f"{source}\n\nclass OptimizedModel(Reference):\n{body}"
    path.write_text('LANGUAGE = "torch"\n' + (plain if calls == 1 else again), encoding="utf-8")
    return read_candidate(path)


def settings_of(name: str, pairs: int) -> TimingSettings:
    """Return how a case is timed here."""
    return TimingSettings(
        dims=DIMS.get(name), pairs=pairs, precision=PRECISION, budget_s=BUDGET_S, baselines=("eager",)
    )


def channel_s(timing: Timing) -> float:
    """Return what a series cost beside its calls."""
    samples = [Sample(**sample.model_dump()) for sample in timing.samples]
    return float(channel_ns([durations(samples, name) for name in ("eager", "same")])) / 1e9


def facts(timing: Timing) -> dict[str, Any]:
    """Return what stands beside a ratio."""
    assert timing.same is not None
    waited = [member.waited_share for member in timing.members]
    return {
        "case": timing.problem,
        "dims": timing.dims,
        "calls": timing.calls,
        "processes": timing.processes,
        "ratio": timing.ratios["eager"].model_dump(),
        "same": timing.same.model_dump(),
        "change": timing.change,
        "call_s": {member.member: member.call_s.model_dump() for member in timing.members},
        "waited_share": waited,
        "channel_s": channel_s(timing),
        "conditions": timing.conditions.model_dump() if timing.conditions else None,
        "seconds": timing.seconds,
    }


def spread(interval: dict[str, float]) -> float:
    """Return how far an interval that should hold 1 reaches from it."""
    return max(abs(interval["low"] - 1), abs(interval["high"] - 1))


def main(arguments: Sequence[str] | None = None) -> None:
    """Time everything in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=list(DIMS))
    parser.add_argument("--pairs", type=int, default=6)
    given = parser.parse_args(arguments)
    equal: list[dict[str, Any]] = []
    double: list[dict[str, Any]] = []
    costs = Series("one verification", "s")
    with tempfile.TemporaryDirectory() as place, Zygote() as zygote:
        for name in given.cases:
            problem = read_problem(case_folder(name))
            ground = make_ground(problem, settings_of(name, given.pairs))
            for calls, rows in ((1, equal), (2, double)):
                timing = candidate_on(zygote, ground, itself(problem, Path(place), calls))
                assert timing.verdict == "passed", timing.evidence
                rows.append(facts(timing))
            began_s = time.monotonic()
            verification = verify(problem, itself(problem, Path(place)))
            costs.values.append(time.monotonic() - began_s)
            print(f"{name}: {verification.verdict}, {len(verification.draws)} draws, {costs.values[-1]:.1f} s")
    report(equal, double, costs, given.pairs)


def report(equal: list[dict[str, Any]], double: list[dict[str, Any]], costs: Series, pairs: int) -> None:
    """Print and write what was found."""
    known = [row for row in equal if None not in row["waited_share"]]
    series = [
        Series("A/A: |estimate - 1|", "share", [abs(row["ratio"]["estimate"] - 1) for row in equal]),
        Series("A/A: interval reaches from 1", "share", [spread(row["ratio"]) for row in equal]),
        Series("the same, eager beside eager", "share", [spread(row["same"]) for row in equal]),
        Series("ratio of doing it twice", "×", [row["ratio"]["estimate"] for row in double]),
        Series("waiting for a core", "share", [max(row["waited_share"]) for row in known]),
        Series("channel, a series", "µs", [row["channel_s"] * 1e6 for row in equal]),
        Series("timing one candidate", "s", [row["seconds"] for row in equal]),
        costs,
    ]
    series = [one for one in series if one.values]
    for row in equal:
        ratio, same = row["ratio"], row["same"]
        print(
            f"{row['case']}: itself {ratio['estimate']:.4f} [{ratio['low']:.4f}, {ratio['high']:.4f}],"
            f" A/A {same['estimate']:.4f} [{same['low']:.4f}, {same['high']:.4f}]: {row['change']}"
        )
    print_table("the timer of kernels", series)
    write("kernel_timer", series, {"pairs": pairs, "equal": equal, "double": double})


if __name__ == "__main__":
    main()
