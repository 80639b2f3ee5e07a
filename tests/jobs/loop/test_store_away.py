"""A worker whose way to the store is broken, while its driver's is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from joulegrid.cluster.storage import StoreError
from tests.jobs.studies import run, study_of

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_here")]

AWAY = """
import os, pathlib, subprocess, sys
x = 0
def main():
    ran = pathlib.Path({log!r})
    ran.write_text(ran.read_text() + str(x) if ran.exists() else str(x))
    if x == 2 and not os.path.exists({log!r} + "-away"):
        pathlib.Path({log!r} + "-away").touch()
        (run,) = pathlib.Path({out!r}).iterdir()
        (run / "results").mkdir(exist_ok=True)
        os.rename(run / "results", run / "kept")
        (run / "results").touch()  # a file where a folder is needed: no result can be written
        back = f"sleep {seconds}; rm {{run}}/results; mv {{run}}/kept {{run}}/results"
        subprocess.Popen(["sh", "-c", back], start_new_session=True, env={{}})
    return {{}}
"""


def away(folder: Path, seconds: float) -> str:
    return AWAY.format(log=str(folder / "ran"), out=str(folder / "out"), seconds=seconds)


def study(folder: Path, seconds: float, xs: list[int], **execution: object) -> dict[str, object]:
    # inline, because what a task leaves behind in a process of its own is killed with it
    whole = {"isolation": "inline", **execution}
    return study_of(folder, away(folder, seconds), xs, execution=whole)


def test_a_store_that_comes_back_costs_time_and_no_task(tmp_path: Path) -> None:
    done = run(study(tmp_path, 1.5, [1, 2, 3]))
    assert (done.counts.done, done.counts.failed) == (3, 0)
    assert (tmp_path / "ran").read_text() == "123"
    assert {result.attempt for result in done.iter_results()} == {0}


def test_a_store_that_stays_away_ends_the_run_in_words_and_no_task_fails_for_it(tmp_path: Path) -> None:
    os.environ["JOULEGRID_STORE_PATIENCE_S"] = "0"
    with pytest.raises(StoreError, match="its result could not be kept: could not write"):
        run(study(tmp_path, 60.0, [2, 3], circuit_breaker=None, max_retries={"infra": 1}))
    (folder,) = (tmp_path / "out").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["state"], manifest["counts"]["failed"], manifest["counts"]["pending"]) == ("stopped", 0, 2)
