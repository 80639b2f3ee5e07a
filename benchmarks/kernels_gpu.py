"""Every baseline and every hand-written kernel on a GPU: times, device times, share of the roof, joules, attacks, A/A.

First it asks whether the judge works there at all, one question after another; then it measures, most important first,
until its time is over. Each step runs in a process of its own: one that fails or hangs ends nothing but itself. What
was done is written after each step and not done again by the next run (`--again` does it anew). Not yet run on a GPU.

Run: `python -m benchmarks.kernels_gpu [--budget-s 1500]`. Without a GPU it leaves with 2; `--device cpu` walks the same
way with the cases' own modules in a few calls each: that says that the script works, and nothing about any kernel.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu_lab import figures
from benchmarks.gpu_lab.plan import Step, affordable, remaining, shapes_of, steps
from benchmarks.measurement import RESULTS, write
from joulegrid.cases.catalog import case_folder
from joulegrid.cases.manifest import read_problem
from joulegrid.cluster.environment import capture
from joulegrid.errors import PreFlightError
from joulegrid.kernels.device import device_name
from joulegrid.kernels.judge.cuda_memory import require_gpu
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.shipped import handwritten
from tests.attacks.catalog import gpu_attacks

STEP_TIMEOUT_S = 600.0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--budget-s", type=float, default=1500.0, help="no step is begun that would not end within it")
    parser.add_argument("--case", action="append", choices=sorted(handwritten()), help="only this one; several times")
    parser.add_argument("--kind", action="append", choices=("smoke", "same", "attack", "point"), help="only such steps")
    parser.add_argument("--pairs", type=int, default=4, help="visits to each member in each of five fresh processes")
    parser.add_argument("--energy-s", type=float, default=3.0, help="length of an energy window; 0: no joules")
    parser.add_argument("--again", action="store_true", help="do steps anew that an earlier run has done")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the steps, print what they came to."""
    given = parse(arguments)
    if given.device == "cuda":
        try:
            require_gpu()
        except PreFlightError as error:
            print(f"benchmarks.kernels_gpu: {error}; `--device cpu` only walks the script through", file=sys.stderr)
            sys.exit(2)
    problems = {name: read_problem(case_folder(name)) for name in given.case or handwritten()}
    run = Run(given, problems)
    for step in run.todo():
        if not run.has_time():
            break
        run.do(step)
    run.report()


class Run:
    """One run of the benchmark, with what earlier ones have done."""

    def __init__(self, given: argparse.Namespace, problems: dict[str, Problem]) -> None:
        self.given, self.problems = given, problems
        self.gpu = device_name(given.device)
        words = re.sub(r"[^a-z0-9]+", "-", self.gpu.lower()).strip("-")
        self.name = f"{words}-kernels" if given.device == "cuda" else "kernels-walked-on-cpu"
        self.began_s = time.monotonic()
        self.spent_s: list[float] = []
        self.done: dict[str, Any] = {} if given.again else self._earlier()

    def todo(self) -> list[Step]:
        """Return the steps that are left, most important first."""
        attacks = [(str(one.path), one.case, one.dtype) for one in gpu_attacks()]
        planned = steps(self.problems, attacks if self.given.device == "cuda" else [], self.given.device)
        wanted = [step for step in planned if not self.given.kind or step.kind in self.given.kind]
        finished = [key for key, one in self.done.items() if not one.get("error")]
        return remaining(wanted, finished)

    def has_time(self) -> bool:
        """Tell whether another step is begun."""
        return affordable(self.spent_s, self.left_s)

    @property
    def left_s(self) -> float:
        """Seconds of the budget that are left."""
        return float(self.given.budget_s) - (time.monotonic() - self.began_s)

    def do(self, step: Step) -> None:
        """Do a step in a process of its own, print and keep what it says."""
        began_s = time.monotonic()
        answer = self._answer(step)
        self.spent_s.append(time.monotonic() - began_s)
        here = capture(RESULTS.parent)
        stamp = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": here.git.commit if here.git else None}
        self.done[step.key] = {"step": asdict(step), **stamp, **answer}
        told = answer.get("error") or answer.get("verdict") or answer.get("without_gate") or "done"
        print(f"{self.spent_s[-1]:7.1f} s  {step.key}: {str(told).splitlines()[0][:200]}", flush=True)
        for line in figures.smoke_lines(answer):
            print(f"   {line}", flush=True)
        self._write()

    def report(self) -> None:
        """Print the table and what follows from it."""
        print()
        for line in (*figures.table(self.done), "", *figures.attack_lines(self.done)):
            print(line)
        found = self._summary()
        for against, mean in found["means"].items():
            of = f"{mean['passed']} of {mean['kernels']} passed"
            print(f"geometric mean against {against}: {mean['geometric_mean']}, {of}")
        for line in found["unexplained"]:
            print(f"to be explained: {line}")
        left = len([step for step in self.todo() if step.key not in self.done])
        print(f"{len(self.done)} steps done, {left} left; run it again to go on")
        self._write()

    def _answer(self, step: Step) -> dict[str, Any]:
        """What the step's process wrote; an error where it wrote nothing in time."""
        order = {"step": asdict(step), "device": self.given.device, "pairs": self.given.pairs}
        order["energy_s"] = self.given.energy_s
        with tempfile.TemporaryDirectory() as folder:
            asked, answer = Path(folder) / "order.json", Path(folder) / "answer.json"
            asked.write_text(json.dumps(order))
            command = [sys.executable, "-m", "benchmarks.gpu_lab.step", str(asked), str(answer)]
            code = _run(command, min(STEP_TIMEOUT_S, max(self.left_s, 30.0)))
            if answer.is_file():
                found: dict[str, Any] = json.loads(answer.read_text())
                return found
        return {"error": "its time was up" if code is None else f"the step's process left with {code}"}

    def _earlier(self) -> dict[str, Any]:
        """What earlier runs have done on such a device, errors included."""
        try:
            found: dict[str, Any] = json.loads((self.given.results / f"{self.name}.json").read_text())["steps"]
        except (FileNotFoundError, KeyError, ValueError):
            return {}
        return found

    def _summary(self) -> dict[str, Any]:
        pairs = [
            (problem, shape) for problem in self.problems.values() for shape in shapes_of(problem, self.given.device)
        ]
        weights = {(problem.name, shape.name): shape.weight for problem, shape in pairs}
        known = {key: one for key, one in self.done.items() if one["step"]["case"] in self.problems}
        try:
            ahead = json.loads((RESULTS / "aot-sm90.json").read_text())
        except FileNotFoundError:
            ahead = {}
        return {"means": figures.means(known, weights), "unexplained": figures.unexplained(known, ahead)}

    def _write(self) -> None:
        provenance = "measured" if self.given.device == "cuda" else "walked through: no figure means anything"
        facts = {"device": self.gpu, "provenance": provenance, "pairs": self.given.pairs, **self._summary()}
        facts["command"] = " ".join(["python", "-m", "benchmarks.kernels_gpu", *sys.argv[1:]])
        write(self.name, [], {**facts, "steps": self.done}, self.given.results)


def _run(command: list[str], timeout_s: float) -> int | None:
    """Run a command in a session of its own; `None` where it had to be killed."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


if __name__ == "__main__":
    main()
