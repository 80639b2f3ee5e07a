"""SIGKILL of the driver after its k-th store operation, k drawn over the whole run, start-up and summary included."""

from __future__ import annotations

import random
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.conftest import Trials
from tests.faults.manifest_watch import ManifestWatch
from tests.faults.processes import wait_until_gone
from tests.faults.trial import Ended, Trial

SEED = 20260731
STRATA = 12
"""A first kill falls into each of so many equal parts of a whole run."""
KILLS = 20
REPORTING = 15
"""Operations at the end of a run that belong to its summary and report; only kills there pay for drawing figures."""


@pytest.mark.timeout(900)
def test_a_driver_killed_after_any_store_operation_loses_and_repeats_nothing(trial: Trials) -> None:
    n_operations = _operations_of_a_whole_run(trial())
    draws, hits, number = random.Random(SEED), list[str](), 0
    while number < STRATA or len(hits) < KILLS:
        one = trial(name=f"killed-{number}")
        part = (number + draws.random()) / STRATA if number < STRATA else draws.random()
        with ManifestWatch(Path(one.output)):
            for after in (int(part * n_operations), int(draws.random() * 0.6 * n_operations)):
                if not one.is_over():  # the second kill falls into the recovery from the first
                    hits += _killed(one, after, late=draws.random() < 0.5, report=after >= n_operations - REPORTING)
            ended = None if one.is_over() else _continued(one)
        one.check(ended)
        assert all(count <= 3 for count in one.executions().values()), one.executions()
        number += 1
    print(f"seed {SEED}, {n_operations} operations in a whole run, {len(hits)} kills: {', '.join(hits)}")


def _operations_of_a_whole_run(one: Trial) -> int:
    ended = one.end(one.start_faulty({}, "--report"))
    assert ended.code == 0, ended.err
    one.check(ended)
    return int(re.findall(r"(\d+) operations", ended.err)[-1])


def _killed(one: Trial, after: int, *, late: bool, report: bool) -> list[str]:
    """Start the study and kill its driver; return what was hit, nothing where it had ended before."""
    before, executed, xs = one.committed(), one.executions(), one.committed_xs()
    ended = one.end(one.start_faulty({"kind": "kill", "after": after, "late": late}, *["--report"] * report))
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


def _assert_kept(one: Trial, before: dict[str, str], xs: set[str], executed: Counter[str]) -> None:
    after, counts = one.committed(), one.executions()
    assert {path: after.get(path) for path in before} == before
    assert {x: counts[x] for x in xs} == {x: executed[x] for x in xs}
