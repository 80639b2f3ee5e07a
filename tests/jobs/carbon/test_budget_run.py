"""A run that stops when its joules are spent, and goes on with a larger budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from joulegrid.cluster.storage import open_store
from joulegrid.jobs.commands import RunFlags, StudyFlags, run_command
from joulegrid.jobs.loop.driver import Options, drive
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.status.status import read_status
from joulegrid.jobs.status.status_view import status_lines
from joulegrid.jobs.study.load import load_study
from joulegrid.jobs.study_result import StudyResult
from tests.jobs.studies import TWO_LANES, study_of

BURN = """
import time
x = 0
def main():
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
"""


def burning(folder: Path, **execution: Any) -> Path:
    fields = {"power": {"source": "model"}, "execution": {"isolation": "inline", **execution}}
    fields["resources"] = TWO_LANES
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study_of(folder, BURN, [1, 2, 3, 4, 5, 6], **fields)))
    return path


def drive_on(folder: Path, **execution: Any) -> StudyResult:
    """Go on without a report, which takes seconds."""
    study = load_study(burning(folder, **execution))
    return drive(study, Plan(study), Options(report=False))


def start(folder: Path, capsys: pytest.CaptureFixture[str], **execution: Any) -> tuple[int, StudyResult]:
    path = burning(folder, **execution)
    code = run_command(path, StudyFlags(), RunFlags(yes=True, quiet=True, as_json=True))
    return code, StudyResult.model_validate_json(capsys.readouterr().out)


@pytest.mark.usefixtures("ray_here")
def test_a_spent_budget_stops_a_run_and_a_larger_one_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    carbon = {"carbon": {"intensity_g_per_kwh": 400, "pue": 1.5}}
    code, first = start(tmp_path, capsys, energy_budget_j=0.5, **carbon)
    assert (code, first.state) == (3, "budget_spent")
    assert 2 <= first.counts.done <= 4 and first.counts.pending == 6 - first.counts.done and not first.counts.failed
    assert first.budget is not None and first.budget.over and first.budget.spent_j["modelled"] >= 0.5
    assert any("energy_budget_j" in note for note in first.notes)
    store = open_store(first.run)
    status = read_status(store)
    assert (status.state, status.budget) == ("budget_spent", first.budget)
    assert any(line.startswith("  budget") for line in status_lines([status]))
    assert "its budget is spent" in store.get("report/report.md").decode()

    code, again = start(tmp_path, capsys, energy_budget_j=0.5, **carbon)  # what was spent before counts
    assert (code, again.run, again.counts) == (3, first.run, first.counts)
    assert again.budget is not None and again.budget.spent_j == pytest.approx(first.budget.spent_j)

    spent_g = first.budget.spent_j["modelled"] / 3.6e6 * 400 * 1.5
    third = drive_on(tmp_path, carbon_budget_g=spent_g + 1e-5, **carbon)  # 0.06 J more: one task or two
    assert (third.run, third.state) == (first.run, "budget_spent")
    assert first.counts.done < third.counts.done < 6
    assert third.budget is not None and (third.budget.spent_g or 0) >= spent_g + 1e-5

    last = drive_on(tmp_path, energy_budget_j=1e6, **carbon)
    assert (last.state, last.counts.done, last.run) == ("done", 6, first.run)
    assert last.carbon is not None
    (total,) = last.carbon.totals
    assert total.energy_j is not None and total.average_g == pytest.approx(total.energy_j / 3.6e6 * 400)
    assert total.facility_average_g == pytest.approx(total.energy_j / 3.6e6 * 600)
    assert last.budget is not None and last.budget.spent_j["modelled"] == pytest.approx(total.energy_j)
    manifest = json.loads(store.get("manifest.json"))
    assert manifest["state"] == "done" and manifest["budget"]["over"] is None


def test_what_cannot_be_kept_is_refused_with_exit_code_2_and_no_run(tmp_path: Path) -> None:
    from joulegrid.errors import UsageError

    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study_of(tmp_path, execution={"carbon_budget_g": 1.0})))
    with pytest.raises(UsageError, match="carbon_budget_g cannot be kept"):
        run_command(path, StudyFlags(), RunFlags(yes=True, quiet=True))
    assert not (tmp_path / "out").exists()
