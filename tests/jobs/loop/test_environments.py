"""A run whose environment has changed is refused with the difference, unless drift is allowed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from joulegrid.errors import PreFlightError
from joulegrid.jobs.loop.continuing import Choice
from tests.jobs.studies import TWO_LANES, run, study_of

ROOT = Path(__file__).parents[3]
BURN = """
import time
x = 0
def main():
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
"""
pytestmark = pytest.mark.usefixtures("ray_here")


def test_another_torch_is_refused_by_name_and_allowed_on_request_and_told_apart(tmp_path: Path) -> None:
    study = study_of(tmp_path, xs=[1, 2], resources=TWO_LANES)
    folder = Path(run(study).run)
    known = json.loads((folder / "environments.json").read_text())
    assert len(known) == 1
    known[0]["environment"]["torch"] = "1.0.0"
    (folder / "environments.json").write_text(json.dumps(known))
    more = {**study, "execution": {"n_cycles": 2}}
    with pytest.raises(PreFlightError, match=r"(?s)torch: 1\.0\.0 → .*--allow-env-drift"):
        run(more)
    result = run(more, Choice(allow_env_drift=True))
    assert (result.run, result.counts.done) == (str(folder), 4)
    assert any("torch: 1.0.0 →" in note for note in result.notes)


def test_an_environments_file_that_was_spoilt_is_written_anew(tmp_path: Path) -> None:
    study = study_of(tmp_path, xs=[1])
    folder = Path(run(study).run)
    (folder / "environments.json").write_text("[{")
    assert run({**study, "execution": {"n_cycles": 2}}).counts.done == 2
    assert len(json.loads((folder / "environments.json").read_text())) == 1


def test_a_start_refused_for_drift_starts_no_ray_and_leaves_the_runs_state_as_it_was(tmp_path: Path) -> None:
    study = study_of(tmp_path, BURN, [1, 2, 3], power={"source": "model"})
    study["execution"] = {"isolation": "inline", "energy_budget_j": 0.2}
    folder = Path(run(study).run)
    assert json.loads((folder / "manifest.json").read_text())["state"] == "budget_spent"
    known = json.loads((folder / "environments.json").read_text())
    known[0]["environment"] |= {"torch": "1.0.0", "gpus": ["another"]}
    (folder / "environments.json").write_text(json.dumps(known))
    study["execution"] |= {"energy_budget_j": 1e6}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    command = [sys.executable, "-m", "joulegrid", "run", str(path), "--yes"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "torch: 1.0.0 →" in done.stderr and "GPU" not in done.stderr
    assert "starting Ray" not in done.stderr and "Traceback" not in done.stderr
    assert json.loads((folder / "manifest.json").read_text())["state"] == "budget_spent"
    with pytest.raises(PreFlightError, match="GPU: another → none"):  # found once the lanes are up
        run(study)
    assert json.loads((folder / "manifest.json").read_text())["state"] == "budget_spent"
