"""Files of a run that are torn or have a flipped bit when it is started again: never a traceback, nothing believed."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.processes import wait_until_gone
from tests.faults.trial import HELD_AT_3, Ended, Trial
from tests.jobs.ray_head import RayHead

Damage = Callable[[Path], None]


def truncate(path: Path) -> None:
    """Leave the first half of a file, as a disk that lost its power may."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def flip_first(path: Path) -> None:
    """Flip a bit of the first byte: what was JSON is none any more."""
    data = bytearray(path.read_bytes())
    data[0] ^= 4
    path.write_bytes(bytes(data))


def remove(path: Path) -> None:
    """Remove a file."""
    path.unlink()


@pytest.fixture(scope="module")
def interrupted(head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """A run of three tasks that was interrupted in its third; two are committed."""
    one = Trial(tmp_path_factory.mktemp("interrupted"), head, HELD_AT_3, [1, 2, 3])
    process = one.start()
    one.until(process, lambda: "3" in one.executions())
    process.send_signal(signal.SIGINT)
    assert one.end(process).code == 130
    wait_until_gone(head)
    one.let_go()
    return one


@pytest.fixture
def damaged(interrupted: Trial, tmp_path: Path) -> Trial:
    """Return a trial whose output is a copy of the interrupted run's, free to be damaged."""
    shutil.copytree(interrupted.folder / "out", tmp_path / "out")
    interrupted.log.write_text("1\n2\n3\n")
    interrupted.output = str(tmp_path / "out")
    interrupted.write()
    return interrupted


def _run(one: Trial) -> Path:
    (folder,) = Path(one.output).glob("t_*")
    return folder


def _continued(one: Trial) -> Ended:
    ended = one.run()
    assert "Traceback" not in ended.err, ended.err
    return ended


@pytest.mark.parametrize("damage", [truncate, flip, remove])
def test_what_is_no_truth_may_be_damaged_all_at_once(damaged: Trial, damage: Damage) -> None:
    folder, before = _run(damaged), damaged.committed()
    for path in (folder / "manifest.json", folder / "lease", *folder.glob("snap/*"), *folder.glob("log/*")):
        damage(path)
    if damage is not flip:  # a flipped letter makes another environment, which is refused in words
        damage(folder / "environments.json")
    ended = _continued(damaged)
    assert ended.code == 0, ended.err
    assert dict(damaged.executions()) == {"1": 1, "2": 1, "3": 2}
    assert {path: damaged.committed()[path] for path in before} == before
    damaged.check(ended)


@pytest.mark.parametrize("name", ["result.json", "marker"])
@pytest.mark.parametrize("damage", [truncate, flip, remove])
def test_a_damaged_result_or_marker_is_told_never_aggregated_and_its_task_runs_again(
    damaged: Trial, damage: Damage, name: str
) -> None:
    folder = _run(damaged)
    marker, other = _marker_of(damaged, "1"), _marker_of(damaged, "2")
    before = other.read_bytes()
    damage(marker if name == "marker" else folder / json.loads(marker.read_text())["path"] / "result.json")
    ended = _continued(damaged)
    assert ended.code == 0, ended.err
    assert dict(damaged.executions()) == {"1": 2, "2": 1, "3": 2}
    assert other.read_bytes() == before
    assert any("run again" in note for note in ended.result["notes"]), ended.result["notes"]
    assert ended.result["counts"]["damaged"] == 0
    damaged.check(ended)


@pytest.mark.parametrize("damage", [truncate, flip_first])
def test_a_damaged_plan_is_told_and_neither_begun_anew_nor_believed(damaged: Trial, damage: Damage) -> None:
    folder = _run(damaged)
    damage(folder / "plan.json")
    ended = _continued(damaged)
    assert ended.code in (1, 2), ended.err
    assert "plan.json" in ended.err
    assert len(list(Path(damaged.output).glob("t_*"))) == 1
    assert dict(damaged.executions()) == {"1": 1, "2": 1, "3": 1}


def _marker_of(one: Trial, x: str) -> Path:
    folder = _run(one)
    (marker,) = (path for path in folder.glob("commit/*/*") if f"/x-{x}_" in json.loads(path.read_text())["path"])
    return marker
