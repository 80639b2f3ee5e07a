"""A run whose environment has changed is refused with the difference, unless drift is allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulegrid.errors import PreFlightError
from joulegrid.jobs.loop.continuing import Choice
from tests.jobs.studies import run, study_of

pytestmark = pytest.mark.usefixtures("ray_here")


def test_another_torch_is_refused_by_name_and_allowed_on_request_and_told_apart(tmp_path: Path) -> None:
    study = study_of(tmp_path, xs=[1, 2])
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
