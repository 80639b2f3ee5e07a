"""SIGKILL of each process of a run but its driver: the task, the zygote, the worker, the sampler, a node's raylet."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from joulegrid.jobs.report.run_results import read_json
from tests.faults.conftest import Trials
from tests.faults.manifest_watch import ManifestWatch
from tests.faults.processes import children, kill, of_runs, second_node, wait_until
from tests.faults.trial import HELD
from tests.jobs.ray_head import RayHead


def _zygotes(head: RayHead) -> list[int]:
    return [pid for worker in of_runs(head, b"ray::Worker") for pid in children(worker)]


def _tasks(head: RayHead) -> list[int]:
    return [pid for zygote in _zygotes(head) for pid in children(zygote)]


def _workers(head: RayHead) -> list[int]:
    return of_runs(head, b"ray::Worker")


def _samplers(head: RayHead) -> list[int]:
    return of_runs(head, b"ray::Sampler")


@pytest.mark.parametrize(
    ("victims", "n_runs", "n_failed"),
    [(_tasks, 1, 1), (_zygotes, 2, 0), (_workers, 2, 0), (_samplers, 1, 0)],
    ids=["task", "zygote", "worker", "sampler"],
)
def test_a_killed_process_costs_one_attempt_at_most(
    trial: Trials, victims: Callable[[RayHead], list[int]], n_runs: int, n_failed: int
) -> None:
    one = trial(HELD, [1, 2, 3])
    with ManifestWatch(Path(one.output)) as watch:
        process = one.start()
        wait_until(lambda: one.executions(), why=lambda: str(process.poll()))
        (first,) = one.executions()
        (pid,) = victims(one.head)
        kill(pid, signal.SIGKILL)
        one.let_go()
        ended = one.end(process)
    assert ended.code == (1 if n_failed else 0), ended.err
    assert one.executions() == {str(x): n_runs if str(x) == first else 1 for x in one.xs}
    assert watch.n_read > 10
    one.check(ended, failed=n_failed)
    if n_failed:
        (failure,) = ended.result["failures"]
        assert (failure["failure_class"], failure["label"]) == ("crash", f"x={first}")
        told = read_json(one.store, f"{failure['path']}/result.json")
        assert (told["failure"]["signal"], told["failure"]["exit_code"]) == (9, None)


def test_a_node_whose_raylet_is_killed_loses_its_lane_and_no_task(trial: Trials) -> None:
    one = trial(HELD, [1, 2, 3, 4])
    with second_node(one.head) as node, ManifestWatch(Path(one.output)):
        process = one.start()
        wait_until(lambda: len(one.executions()) == 2, why=lambda: str(process.poll()))
        begun = one.executions()
        kill(node.raylet, signal.SIGKILL)
        one.let_go()
        ended = one.end(process)
    assert ended.code == 0, ended.err
    executed = one.executions()
    assert all(executed[str(x)] == 1 for x in one.xs if str(x) not in begun), executed
    assert sum(executed.values()) <= len(one.xs) + 1, executed
    one.check(ended)
