"""SIGKILL of the driver after its k-th store operation, k drawn over the whole run, start-up and summary included."""

from __future__ import annotations

import random
import re
import signal
from pathlib import Path

import pytest

from tests.faults.conftest import Trials
from tests.faults.manifest_watch import ManifestWatch
from tests.faults.processes import wait_until_gone
from tests.faults.trial import Ended, Trial

SEED = 20260731
TRIALS = 14
"""Each is killed twice, unless it ends before, and then completed."""


@pytest.mark.timeout(900)
def test_a_driver_killed_after_any_store_operation_loses_and_repeats_nothing(trial: Trials) -> None:
    n_operations = _operations_of_a_whole_run(trial())
    draws, hits = random.Random(SEED), list[str]()
    for number in range(TRIALS):
        one = trial(name=f"killed-{number}")
        with ManifestWatch(Path(one.output)):
            # One draw from each part of the whole run; the second kill falls into the recovery from the first.
            hits += _killed(one, int((number + draws.random()) / TRIALS * n_operations), draws)
            if not one.is_over():
                hits += _killed(one, int(draws.random() ** 2 * n_operations), draws)
            ended = None if one.is_over() else _continued(one)
        one.check(ended)
        assert all(count <= 3 for count in one.executions().values()), one.executions()
    print(f"seed {SEED}, {n_operations} operations in a whole run, {len(hits)} kills: {', '.join(hits)}")
    assert len(hits) >= 20


def _operations_of_a_whole_run(one: Trial) -> int:
    ended = one.end(one.start_faulty({}, "--report"))
    assert ended.code == 0, ended.err
    one.check(ended)
    return int(re.findall(r"(\d+) operations", ended.err)[-1])


def _killed(one: Trial, after: int, draws: random.Random) -> list[str]:
    """Start the study and kill its driver; return what was hit, nothing where it had ended before."""
    late = draws.random() < 0.5
    before, executed = one.committed(), one.executions()
    xs = one.committed_xs()
    ended = one.end(one.start_faulty({"kind": "kill", "after": after, "late": late}, "--report"))
    wait_until_gone(one.head)
    _assert_kept(one, before, xs, executed)
    assert ended.code in (0, -signal.SIGKILL), ended.err
    return [f"{'after' if late else 'before'} {after}"] if ended.code else []


def _continued(one: Trial) -> Ended:
    before, executed, xs = one.committed(), one.executions(), one.committed_xs()
    ended = one.run()
    assert ended.code == 0, ended.err
    _assert_kept(one, before, xs, executed)
    return ended


def _assert_kept(one: Trial, before: dict[str, str], xs: set[str], executed: object) -> None:
    after = one.committed()
    assert {path: after.get(path) for path in before} == before
    assert {x: one.executions()[x] for x in xs} == {x: executed[x] for x in xs}  # type: ignore[index]
