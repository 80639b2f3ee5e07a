"""Two drivers of one study: started at the same second, or one that was stopped and comes back."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from joulegrid.jobs.state.lease import Lease, read_lease
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
    one.until(process, one.executions)
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


def test_two_new_starts_at_once_both_finish_or_one_finds_the_others_run_held(trial: Trials) -> None:
    one = trial()
    ends = [one.end(process) for process in [one.start(), one.start()]]
    finished = [ended for ended in ends if ended.code == 0]
    assert finished, ends
    assert all(ended.code == 1 and "joulegrid: " in ended.err for ended in ends if ended.code), ends
    assert len({ended.result["run"] for ended in finished}) == len(finished) == len(one.runs())
    assert set(one.executions().values()) == {len(finished)}


@pytest.mark.parametrize("path", ["lease", "log/"], ids=["before it writes the lease", "before it takes its epoch"])
def test_a_driver_that_stalls_while_it_takes_the_run_shares_it_with_nobody(trial: Trials, path: str) -> None:
    one = _unfinished(trial)
    before = one.committed()
    # It has looked at the lease when it is stopped: the second operation on the lease belongs to its write.
    after = {"lease": 1, "log/": _reads_of_the_log(one)}[path]
    n_before = sum(one.executions().values())
    slow = one.start_faulty({"kind": "stop", "path": path, "after": after})
    wait_until(lambda: _is_stopped(slow.pid))
    quick = one.start()
    wait_until(lambda: quick.poll() is not None or sum(one.executions().values()) > n_before)
    kill(slow.pid, signal.SIGCONT)
    wait_until(lambda: quick.poll() is not None or slow.poll() is not None)
    one.let_go()
    ends = sorted((one.end(process) for process in (slow, quick)), key=lambda ended: ended.code)
    assert [ended.code for ended in ends] == [0, 1], ends
    assert "Traceback" not in ends[1].err
    assert sum(one.executions().values()) == n_before + 3, one.executions()
    assert {name: one.committed()[name] for name in before} == before
    one.check(ends[0])


def _reads_of_the_log(one: Trial) -> int:
    """Operations on the log before a driver creates its first segment."""
    copy = one.folder / "trace"
    process = one.start_faulty({"kind": "kill", "path": "log/", "after": 10**6, "trace": str(copy)})
    one.until(process, lambda: copy.exists() and "create" in copy.read_text())
    process.kill()
    one.end(process)
    wait_until_gone(one.head)
    return next(int(line.split()[0]) for line in copy.read_text().splitlines() if " create " in line)


def _lease(one: Trial) -> Lease:
    lease = read_lease(one.store)
    assert lease is not None
    return lease


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_stopped_driver_loses_the_run_after_a_while_and_stops_when_it_comes_back(trial: Trials) -> None:
    one = trial(HELD, [1, 2])
    patience = {"JOULEGRID_LEASE_STALE_S": "3"}
    with ManifestWatch(Path(one.output)):
        first = one.start(**patience)
        one.until(first, one.executions)
        kill(first.pid, signal.SIGSTOP)
        refused = one.run("--quiet", JOULEGRID_LEASE_STALE_S="120")  # longer than a start takes on a busy machine
        assert refused.code == 1
        assert "is driven by process" in refused.err
        wait_until(lambda: time.time() - _lease(one).renewed_s > 3)
        # The stopped driver's worker keeps its cores on the standing cluster: the second starts a Ray of its own.
        second = one.start_alone(**patience)
        one.until(second, lambda: sum(one.executions().values()) == 2)
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
