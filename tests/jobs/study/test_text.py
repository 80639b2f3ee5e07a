"""Text that no file can hold is refused where it is read; what comes later does not cost a run its state."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from joulegrid.actors.outcome import Outcome
from joulegrid.actors.result import Task
from joulegrid.cluster.folder import FolderStore
from joulegrid.errors import UsageError
from joulegrid.jobs.api import expand_grid
from joulegrid.jobs.loop.driver import _close_after
from joulegrid.jobs.loop.run import Run
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.planning import plan_of
from joulegrid.jobs.state.lease import Lease, read_lease
from joulegrid.jobs.state.ledger import Ledger, read_states
from joulegrid.jobs.study.load import make_study
from joulegrid.jobs.study.study import StudyConfig
from tests.jobs.studies import study_of

HALF = "\ud800"


@pytest.mark.parametrize(
    ("mapping", "path"),
    [
        ({"sweep": {"script.globals.x": ["a", HALF]}}, r"sweep\.script\.globals\.x\[1\]"),
        ({"script": {"path": "s.py", "globals": {"x": HALF}}}, r"script\.globals\.x"),
        ({"script": {"path": "s.py", "globals": {HALF: 1}}}, r"script\.globals\.\\ud800"),
        ({"study_name": HALF}, "study_name"),
    ],
)
def test_a_lone_surrogate_is_refused_with_its_path(tmp_path: Path, mapping: dict[str, object], path: str) -> None:
    with pytest.raises(UsageError, match=rf"{path}: '\\ud800' has half of a character"):
        make_study({**study_of(tmp_path), **mapping})
    with pytest.raises(UsageError, match="half of a character"):
        expand_grid(StudyConfig(model="tiny-lm", output=HALF))


@pytest.mark.parametrize(
    "text",
    [
        'CONFIG = {"workload": "script", "script": "s.py", "sweep": {"script.globals.x": [HALF]}}',
        'STUDY = {"workload": "script", "script": "s.py"}\ndef config_gen():\n    yield {"script.globals.x": HALF}',
    ],
    ids=["CONFIG", "config_gen"],
)
def test_a_python_study_with_one_ends_in_words_and_exit_code_2(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.py").write_text("x = 0")
    (tmp_path / "study.py").write_text(f"HALF = chr(0xD800)\n{text}")
    command = [sys.executable, "-m", "joulegrid", "plan", str(tmp_path / "study.py")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert "script.globals.x" in ended.stderr
    assert "Traceback" not in ended.stderr


def open_run(folder: Path, study: StudyConfig) -> Run:
    store = FolderStore(folder / "run", durable=False)
    lease = Lease.of_this_process(1)
    lease.write(store)
    return Run(study, Plan(study), "run", store, Ledger.open(store), lease, "", False, False)


def outcome(run: Run, message: str) -> Outcome:
    task: Task = run.task(0, 0, 0)
    return Outcome.lost(task, "here/cpu0", message)


def test_a_message_that_cannot_be_written_is_escaped_and_read_back_as_it_was(tmp_path: Path) -> None:
    run = open_run(tmp_path, make_study(study_of(tmp_path)))
    run.record_ended(outcome(run, HALF))
    run.close("stopped")
    assert read_states(run.store).state((0, 0)).message == HALF
    told = json.loads(run.store.get("manifest.json"))
    assert (told["state"], told["tasks"][0]["message"]) == ("stopped", HALF)


def test_a_late_failure_costs_neither_the_state_nor_the_release(tmp_path: Path) -> None:
    run = open_run(tmp_path, make_study(study_of(tmp_path)))
    (tmp_path / "run" / "snap").write_text("a file where a folder is needed")
    error = UsageError("what really happened")
    _close_after(run, error)
    assert json.loads(run.store.get("manifest.json"))["state"] == "stopped"
    lease = read_lease(run.store)
    assert lease is not None
    assert lease.released
    assert "the run's state could not be written whole" in error.__notes__[0]
    assert isinstance(plan_of(run.study), Plan)
