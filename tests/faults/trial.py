"""A study under faults: how it is started, what it executed, what is committed, and the one invariant.

The invariant: every task of the plan has exactly one committed result or one terminal failure, the states sum to the
number of tasks, what was committed stays as it was and is not executed again, and no process of the run is left.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from joulegrid.cluster.storage import Store, open_store
from joulegrid.jobs.report.run_results import RunResults, read_json
from joulegrid.jobs.state.ledger import read_states
from joulegrid.jobs.status.status import read_status
from tests.checkout import ROOT
from tests.faults.forked import Forked, Main
from tests.faults.processes import wait_until, wait_until_gone
from tests.jobs.ray_head import RayHead

Driver = subprocess.Popen[str] | Forked
LIMIT_S = 150
"""For one start of a study; it takes two seconds on an idle machine."""
PRELUDE = """
import os, signal, sys, time
x = 0
def ran():
    with open({log!r}, "a") as file:
        file.write(f"{{x}}\\n")
def wait():
    while not os.path.exists({go!r}):
        time.sleep(0.02)
"""
HELD = """
def main():
    ran()
    wait()
    return {'double': 2 * x}
"""
"""Every task waits until the test lets it go."""
HELD_AT_3 = HELD.replace("    wait()", "    if x == 3:\n        wait()")
PLAIN = "def main():\n    ran()\n    return {'double': 2 * x}"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a start of a study ended."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """The study's result, as it was printed."""
        result: dict[str, Any] = json.loads(self.out)
        return result


@dataclass
class Trial:
    """One study of a script, swept over its global `x`, on the standing cluster."""

    folder: Path
    head: RayHead
    body: str = PLAIN
    xs: list[Any] = field(default_factory=lambda: [1, 2, 3, 4])
    fields: dict[str, Any] = field(default_factory=dict)
    output: str = ""
    _started: list[Driver] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "executions"
        self.output = self.output or str(self.folder / "out")
        source = PRELUDE.format(log=str(self.log), go=str(self.folder / "go")) + textwrap.dedent(self.body)
        (self.folder / "script.py").write_text(source)
        self.study = self.folder / "study.yaml"
        self.write()

    def write(self) -> None:
        """Write the study file."""
        sweep = {"sweep": {"script.globals.x": self.xs}, "resources": {"cpus": 2}, "power": "none"}
        place = {"script": {"path": str(self.folder / "script.py")}, "output": self.output}
        self.study.write_text(
            yaml.safe_dump({"study_name": "t", "workload": "script", **sweep, **place, **self.fields})
        )

    def start(self, *flags: str, **env: str) -> subprocess.Popen[str]:
        """Start the study by the plain command."""
        command = [sys.executable, "-m", "joulegrid", "run", str(self.study), "--address", self.head.gcs_address]
        return self._popen([*command, "--json", *flags], env)

    def start_alone(self, *flags: str, **env: str) -> subprocess.Popen[str]:
        """Start the study by the plain command on a Ray of its own."""
        command = [sys.executable, "-m", "joulegrid", "run", str(self.study), "--json", *flags]
        return self._popen(command, env)

    def start_faulty(self, fault: dict[str, Any], *flags: str, **env: str) -> Forked:
        """Start the study with a store that strikes."""
        return self._forked("faulty", (str(self.study), self.head.gcs_address, fault, *flags), env)

    def run(self, *flags: str, **env: str) -> Ended:
        """Start the study by the plain command, forked, and wait for its end."""
        arguments = ("run", str(self.study), "--address", self.head.gcs_address, "--json", *flags)
        return self.end(self._forked("plain", arguments, env))

    def end(self, process: Driver, limit_s: float = LIMIT_S) -> Ended:
        """Wait for the end of a start."""
        out, err = process.communicate(timeout=limit_s)
        assert process.returncode is not None
        return Ended(process.returncode, out, err)

    def until(self, process: Driver, true: Callable[[], object]) -> None:
        """Wait until a condition holds while a start of the study goes on."""

        def holds() -> object:
            if process.poll() is not None and not true():
                raise AssertionError(f"it ended before: {self.end(process)}")
            return true()

        wait_until(holds)

    def close(self) -> None:
        """End what still runs."""
        for process in self._started:
            process.kill()
            process.communicate()

    @property
    def store(self) -> Store:
        """The folder of the one run."""
        (name,) = self.runs()
        return open_store(self.output).child(name)

    def runs(self) -> list[str]:
        """Names of the runs; a folder without a plan is none, its driver died while it was made."""
        root = open_store(self.output)
        return [name for name in root.folders("t_") if root.exists(f"{name}/plan.json")]

    def let_go(self) -> None:
        """Let the tasks end that wait for it."""
        (self.folder / "go").touch()

    def executions(self) -> Counter[str]:
        """How often each `x` was executed."""
        return Counter(self.log.read_text().split()) if self.log.exists() else Counter()

    def committed(self) -> dict[str, str]:
        """Path → sha256 of every marker and of the result that it names; empty before there is a run."""
        if not self.runs():
            return {}
        store, found = self.store, dict[str, str]()
        for path in store.list("commit/"):
            result = f"{json.loads(store.get(path))['path']}/result.json"
            found |= {one: hashlib.sha256(store.get(one)).hexdigest() for one in (path, result)}
        return found

    def committed_xs(self) -> set[str]:
        """The `x` of every committed result."""
        if not self.runs():
            return set()
        return {str(one.result.axes["script.globals.x"]) for one in RunResults(self.store).done()}

    def is_over(self) -> bool:
        """Whether a run has ended in good order: the next start would begin another one."""
        return any(_has_ended(open_store(self.output).child(name)) for name in self.runs())

    def check(self, ended: Ended | None = None, *, failed: int = 0, n_cycles: int = 1) -> None:
        """Assert the invariant on a run that has ended."""
        wait_until_gone(self.head)
        store, n_tasks = self.store, len(self.xs) * n_cycles
        self._check_status(store, n_tasks, failed)
        counts = {"n_tasks": n_tasks, "done": n_tasks - failed, "failed": failed}
        counts |= {"running": 0, "skipped": 0, "pending": 0}
        said = ended.err if ended else ""
        assert read_states(store).counts(len(self.xs), n_cycles) == counts, said
        manifest = read_json(store, "manifest.json")
        assert (manifest["state"], manifest["counts"]) == ("done", counts), said
        results = RunResults(store)
        done = [(one.result.key, one.result.cycle) for one in results.done()]
        assert (len(done), len(set(done)), results.damaged) == (n_tasks - failed, n_tasks - failed, []), said
        told = read_json(store, "study_result.json")
        assert (told["state"], told["counts"]["done"], told["counts"]["failed"]) == ("done", n_tasks - failed, failed)

    def _check_status(self, store: Store, n_tasks: int, failed: int) -> None:
        """Assert that `joulegrid status` would answer, and how."""
        status = read_status(store, verify=True)
        found = (status.state, status.n_tasks, status.done, status.failed, status.running, status.pending)
        assert found == ("done", n_tasks, n_tasks - failed, failed, 0, 0), status
        assert not status.damaged, status

    def _forked(self, main: Main, arguments: tuple[Any, ...], env: dict[str, str]) -> Forked:
        said = self.folder / f"driver-{len(self._started)}"
        self._started.append(process := Forked(main, arguments, self._surroundings(env), said))
        return process

    def _surroundings(self, env: dict[str, str]) -> dict[str, str]:
        return self.head.environment | {"PYTHONPATH": str(ROOT)} | _endpoint() | env

    def _popen(self, command: list[str], env: dict[str, str]) -> subprocess.Popen[str]:
        surroundings = self._surroundings(env)
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=surroundings, cwd=ROOT
        )
        self._started.append(process)
        return process


def _has_ended(store: Store) -> bool:
    released = read_json(store, "lease").get("released")
    return bool(released) and read_json(store, "manifest.json").get("state") == "done"


def _endpoint() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
