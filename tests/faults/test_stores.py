"""A store that errs, loses answers and stalls; a full disk; an S3 server that is killed and started again mid-run."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.s3_servers import BUCKET, environment, moto_server
from tests.faults.conftest import Trials
from tests.faults.manifest_watch import ManifestWatch
from tests.faults.processes import wait_until_gone
from tests.faults.s3_server import RestartableS3
from tests.faults.trial import HELD

SEED = 20260801
DRAWS = 3
LAST_OPERATION = 45
"""A run of four tasks asks about so much of its store before its summary."""


@pytest.mark.parametrize("kind", ["error", "lost"])
def test_a_store_that_is_not_waited_for_ends_a_start_in_words_and_the_next_completes(trial: Trials, kind: str) -> None:
    draws = random.Random(f"{SEED} {kind}")
    for number in range(DRAWS):
        one = trial(name=f"{kind}-{number}")
        after = int((number + draws.random()) / DRAWS * LAST_OPERATION)
        with ManifestWatch(Path(one.output)):
            ended = one.end(one.start_faulty({"kind": kind, "after": after}, JOULEGRID_STORE_PATIENCE_S="0"))
            assert ended.code in (0, 1), f"operation {after} (seed {SEED}): {ended.err}"
            assert "Traceback" not in ended.err, f"operation {after} (seed {SEED}): {ended.err}"
            wait_until_gone(one.head)
            before, executed, xs = one.committed(), one.executions(), one.committed_xs()
            again = None if one.is_over() else one.run()
        assert again is None or again.code == 0, again
        assert {path: one.committed()[path] for path in before} == before
        assert {x: one.executions()[x] for x in xs} == {x: executed[x] for x in xs}
        one.check(again or ended)


@pytest.mark.parametrize("kind", ["error", "lost"])
def test_a_store_that_fails_for_a_while_is_waited_for(trial: Trials, kind: str) -> None:
    one = trial()
    with ManifestWatch(Path(one.output)):
        ended = one.end(one.start_faulty({"kind": kind, "after": LAST_OPERATION // 2, "count": 3}))
    assert ended.code == 0, ended.err
    assert "a fault of this store" in ended.err
    assert set(one.executions().values()) == {1}
    one.check(ended)


def test_a_store_that_stalls_costs_time_and_nothing_else(trial: Trials) -> None:
    one = trial()
    with ManifestWatch(Path(one.output)):
        ended = one.end(one.start_faulty({"kind": "stall", "after": 10, "count": 30, "stall_s": 0.4}))
    assert ended.code == 0, ended.err
    assert set(one.executions().values()) == {1}
    one.check(ended)


def test_a_run_goes_to_a_fenced_s3_store(trial: Trials, tmp_path: Path) -> None:
    with moto_server(tmp_path) as endpoint:
        os.environ.update(environment(endpoint))
        one = trial(output=f"s3://{BUCKET}/demo")
        ended = one.run()
        assert ended.code == 0, ended.err
        assert ended.result["run"].startswith("s3://")
        assert (ended.result["counts"]["done"], ended.result["unfenced"]) == (4, False)
        one.check(ended)


def test_an_s3_server_that_is_killed_and_started_again_is_waited_for(trial: Trials, tmp_path: Path) -> None:
    with RestartableS3(tmp_path / "s3") as server:
        os.environ.update(environment(server.endpoint))
        one = trial(HELD, [1, 2, 3], output=f"s3://{BUCKET}/demo")
        process = one.start()
        one.until(process, one.executions)
        server.kill()
        one.let_go()  # the first task ends and has nowhere to put its result
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2.0)
        server.start()
        ended = one.end(process)
        assert ended.code == 0, ended.err
        assert "unfenced" in ended.err and ended.result["unfenced"] is True  # it ignores conditional writes
        assert set(one.executions().values()) == {1}
        one.check(ended)


def test_an_s3_server_that_stays_away_ends_the_start_and_the_next_one_completes(trial: Trials, tmp_path: Path) -> None:
    with RestartableS3(tmp_path / "s3") as server:
        os.environ.update(environment(server.endpoint) | {"AWS_MAX_ATTEMPTS": "2"})
        one = trial(HELD, [1, 2, 3], output=f"s3://{BUCKET}/demo")
        process = one.start(JOULEGRID_STORE_PATIENCE_S="1")
        one.until(process, one.executions)
        server.kill()
        one.let_go()
        ended = one.end(process)
        assert ended.code == 1, ended.err
        assert "cannot be reached" in ended.err
        assert "Traceback" not in ended.err
        server.start()
        wait_until_gone(one.head)
        xs, executed = one.committed_xs(), one.executions()
        again = one.run()
        assert again.code == 0, again.err
        assert {x: one.executions()[x] for x in xs} == {x: executed[x] for x in xs}
        one.check(again)


BULKY = "def main():\n    ran()\n    return {'text': str(x) * 300_000}"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_ends_the_start_in_words_and_the_next_one_goes_on(trial: Trials, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m"):
        breaker = {"circuit_breaker": {"cooldown_seconds": 1.0}}  # its minute is no matter of the store's
        one = trial(BULKY, [1, 2, 3, 4, 5, 6], output=str(tmp_path / "disk" / "out"), execution=breaker)
        with ManifestWatch(Path(one.output)):
            ended = one.run(JOULEGRID_STORE_PATIENCE_S="1")
            assert ended.code == 1, ended.err
            assert "the disk is full" in ended.err
            assert "Traceback" not in ended.err
            wait_until_gone(one.head)
            before, executed, xs = one.committed(), one.executions(), one.committed_xs()
            assert xs
            subprocess.run(["mount", "-o", "remount,size=64m", str(tmp_path / "disk")], check=True)
            again = one.run()
        assert again.code == 0, again.err
        assert {path: one.committed()[path] for path in before} == before
        assert {x: one.executions()[x] for x in xs} == {x: executed[x] for x in xs}
        one.check(again)


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """Mount a file system of so many bytes for the length of a block."""
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "joulegrid-test", str(place)], check=False)
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
