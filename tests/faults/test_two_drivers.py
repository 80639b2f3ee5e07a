"""Two drivers of one study: started at the same second, or one that was stopped and comes back."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Trials
from tests.faults.manifest_watch import ManifestWatch
from tests.faults.processes import kill, wait_until, wait_until_gone
from tests.faults.trial import HELD, Trial

FAILS_ONCE = """
def main():
    ran()
    if x == 1 and not os.path.exists({go!r}):
        os.kill(os.getppid(), 9)
    return {'double': 2 * x}
"""


def _unfinished(trial: Trials, body: str = HELD) -> Trial:
    """A run whose driver was killed while its first task ran."""
    one = trial(body, [1, 2, 3])
    process = one.start()
    wait_until(one.executions, why=lambda: str(process.poll()))
    process.kill()
    one.end(process)
    wait_until_gone(one.head)
    return one


def test_of_two_drivers_started_at_once_on_one_run_one_holds_it_and_the_other_says_so(trial: Trials) -> None:
    one = _unfinished(trial)
    before = one.executions()
    with ManifestWatch(Path(one.output)):
        both = [one.start(), one.start()]
        wait_until(lambda: sum(process.poll() is not None for process in both) == 1)
        (refused,) = [one.end(process) for process in both if process.poll() is not None]
        one.let_go()
        (ended,) = [one.end(process) for process in both if process.returncode is None]
    assert (refused.code, ended.code) == (1, 0), refused.err + ended.err
    assert "joulegrid: " in refused.err
    assert "Traceback" not in refused.err
    assert sum(one.executions().values()) == sum(before.values()) + 3
    one.check(ended)


def test_two_new_runs_started_at_once_both_finish_in_folders_of_their_own(trial: Trials) -> None:
    one = trial()
    ends = [one.end(process) for process in [one.start(), one.start()]]
    assert [ended.code for ended in ends] == [0, 0], ends
    runs = {ended.result["run"] for ended in ends}
    assert {Path(run).name for run in runs} == set(one.runs())
    assert len(runs) == 2
    assert set(one.executions().values()) == {2}


@pytest.mark.parametrize("path", ["lease", "log/"], ids=["before it writes the lease", "before it takes its epoch"])
def test_a_driver_that_stalls_while_it_takes_the_run_does_not_take_it_from_another(trial: Trials, path: str) -> None:
    one = _unfinished(trial)
    # The slow one has looked at the lease when it stalls (operation 1 on the lease is its write; in the log the
    # first creation follows three listings and readings), and writes long after the quick one holds the run.
    after = {"lease": 1, "log/": _reads_of_the_log(one)}[path]
    slow = one.start_faulty({"kind": "stop", "path": path, "after": after})
    wait_until(lambda: _is_stopped(slow.pid))
    quick = one.start()
    wait_until(lambda: sum(one.executions().values()) == 2, why=lambda: str(quick.poll()))
    kill(slow.pid, signal.SIGCONT)
    refused = one.end(slow)
    one.let_go()
    ended = one.end(quick)
    assert (refused.code, ended.code) == (1, 0), refused.err + ended.err
    assert sum(one.executions().values()) == 4, one.executions()  # the killed driver's one, and each task once
    one.check(ended)


def _reads_of_the_log(one: Trial) -> int:
    """Operations on the log before a driver creates its first segment."""
    copy = one.folder / "trace"
    process = one.start_faulty({"kind": "kill", "path": "log/", "after": 10**6, "trace": str(copy)})
    wait_until(lambda: copy.exists() and "create" in copy.read_text(), why=lambda: str(process.poll()))
    process.kill()
    one.end(process)
    wait_until_gone(one.head)
    return next(int(line.split()[0]) for line in copy.read_text().splitlines() if " create " in line)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_stopped_driver_loses_the_run_after_a_while_and_stops_when_it_comes_back(trial: Trials) -> None:
    one = trial(HELD, [1, 2])
    patience = {"JOULEGRID_LEASE_STALE_S": "3"}
    with ManifestWatch(Path(one.output)):
        first = one.start(**patience)
        wait_until(one.executions, why=lambda: str(first.poll()))
        kill(first.pid, signal.SIGSTOP)
        refused = one.run("--quiet", **patience)
        assert refused.code == 1
        assert "is driven by process" in refused.err
        time.sleep(3.5)
        # The stopped driver's worker keeps its cores on the standing cluster: the second starts a Ray of its own.
        second = one.start_alone(**patience)
        wait_until(lambda: sum(one.executions().values()) == 2, why=lambda: str(second.poll()))
        one.let_go()
        ended = one.end(second)
        before = (one.store.get("manifest.json"), one.store.get("study_result.json"), one.committed())
        kill(first.pid, signal.SIGCONT)
        stopped = one.end(first)
    assert ended.code == 0, ended.err
    assert stopped.code == 1
    assert "taken over" in stopped.err
    assert "Traceback" not in stopped.err
    assert (one.store.get("manifest.json"), one.store.get("study_result.json"), one.committed()) == before
    assert json.loads(before[0])["state"] == "done"
    one.check(ended)
