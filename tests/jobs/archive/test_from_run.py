"""Archives out of a run: one for each candidate and case, with the joules of a call by difference."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from joulegrid.actors.costs import EnergyDifference
from joulegrid.actors.result import ExperimentResult
from joulegrid.cases.judged import JudgedPoint
from joulegrid.cluster.storage import Store
from joulegrid.errors import PreFlightError, UsageError
from joulegrid.jobs.archive.from_run import contents_of
from joulegrid.jobs.archive.of_study import archive_of, archived
from joulegrid.jobs.archive.shelf import take_down
from tests.jobs.archive.shelves import fast, point, shelf
from tests.jobs.report.results import Made, commit, done, folder_of, modelled

CASE = {"case": "norm", "fingerprint": "f" * 64, "language": "torch"}


def judged(store: Store, made: Made, found: JudgedPoint, candidate: str) -> None:
    """Commit a result of the workload `kernel` with its artifacts."""
    source = f"# {candidate}\n".encode()
    files = {"point.json": found.model_dump_json().encode(), "candidate.py": source, "case/model.py": b"class M: ...\n"}
    files |= {"verification.json": b"{}", "timing.json": b"{}"}
    effective = CASE | {"candidate": candidate, "candidate_sha256": hashlib.sha256(source).hexdigest()}
    difference = EnergyDifference(
        name="candidate call", minuend="candidate calls", subtrahend="candidate inputs", unit="call", energy_j=0.002,
        low_j=0.001, high_j=0.003, provenance="modelled",
    )  # fmt: skip
    update: dict[str, Any] = {
        "effective": effective,
        "artifacts": [f"artifacts/kernel/{name}" for name in files],
        "work": {"call_and_its_inputs": 500.0},
        "differences": [difference] if found.verdict == "passed" else [],
    }
    result = done(made).model_copy(update=update)
    for name, data in files.items():
        store.put(f"{folder_of(result)}/artifacts/kernel/{name}", data)
    commit(store, ExperimentResult.model_validate(result.model_dump()))


def made(index: int) -> Made:
    return Made(index=index, workload="kernel", energy=modelled(100.0), metrics={"verdict": "…"})


def test_shapes_and_dtypes_of_one_candidate_lie_in_one_archive(tmp_path: Path) -> None:
    run = shelf(tmp_path / "run")
    judged(run, made(0), fast(2.0, shape="wide", weight=0.5), "fused.py")
    judged(run, made(1), fast(0.5, shape="small", weight=0.5), "fused.py")
    judged(run, made(2), point(verdict="timeout"), "slow.py")
    store = shelf(tmp_path / "store")
    names = sorted(record.name for record in archived(run, store))
    assert names == ["20260301T100013Z-norm-fused-1.00x", "20260301T100013Z-norm-slow-failed"]
    assert sorted(record.name for record in archived(run, store)) == names == list(store.child("archive").folders())
    opened = take_down(store, "fused")
    assert sorted(one.shape for one in opened.record.points) == ["small", "wide"]
    assert opened.record.run == run.url and not opened.damaged
    assert opened.read("candidate.py") == b"# fused.py\n"
    energy = opened.record.points[0].energy
    assert energy is not None and (energy.energy_j, energy.calls, energy.provenance) == (0.002, 500, "modelled")
    assert take_down(store, "slow").record.points[0].energy is None
    assert {"points/wide-fp32/timing.json", "points/wide-fp32/energy.json", "case/model.py"} <= set(opened.record.files)


def test_cycles_of_one_point_lie_beside_each_other(tmp_path: Path) -> None:
    run = shelf(tmp_path / "run")
    for cycle in (0, 1):
        judged(run, Made(cycle=cycle, energy=modelled(1.0), metrics={}), fast(2.0), "fused.py")
    (contents,) = contents_of(run)
    folders = {path.rpartition("/")[0] for path in contents.files() if path.startswith("points/")}
    assert folders == {"points/tiny-fp32", "points/tiny-fp32-c1"}


def test_an_archive_that_was_cut_short_is_finished_and_a_run_that_grew_has_another(
    tmp_path: Path,
) -> None:
    run, store = shelf(tmp_path / "run"), shelf(tmp_path / "store")
    judged(run, made(0), fast(2.0, shape="wide"), "fused.py")
    (whole,) = archived(run, store)
    for lost in ("archive.json", "candidate.py"):  # as kill -9 leaves it
        store.delete(f"archive/{whole.name}/{lost}")
    assert list(archived(run, store)) == [whole]
    assert not take_down(store, whole.name).damaged
    judged(run, made(1), fast(8.0, shape="small"), "fused.py")
    (grown,) = archived(run, store)
    assert list(store.child("archive").folders()) == [whole.name, grown.name] and grown.name.endswith("-4.00x")


def test_experiments_that_differ_in_how_they_were_timed_lie_beside_each_other(tmp_path: Path) -> None:
    run = shelf(tmp_path / "run")
    for index in (0, 1):
        judged(run, made(index), fast(2.0), "fused.py")
    (contents,) = contents_of(run)
    folders = {path.rpartition("/")[0] for path in contents.files() if path.startswith("points/")}
    assert folders == {"points/tiny-fp32", "points/tiny-fp32-t1"}


def test_environments_are_archived_apart(tmp_path: Path) -> None:
    run, store = shelf(tmp_path / "run"), shelf(tmp_path / "store")
    judged(run, made(0), fast(2.0, shape="wide"), "fused.py")
    judged(run, Made(index=1, workload="kernel", metrics={}), fast(3.0, shape="small"), "fused.py")  # on a GPU
    assert [len(record.points) for record in archived(run, store)] == [1, 1]


def test_only_a_study_of_kernels_archives_and_in_its_output_unless_a_place_is_set(tmp_path: Path) -> None:
    output = shelf(tmp_path / "out")
    assert archive_of("kernel", None, output) is output
    assert archive_of("kernel", False, output) is None and archive_of("script", None, output) is None
    with pytest.raises(UsageError, match="only kernels are archived, and the workload is script"):
        archive_of("script", True, output)
    os.environ["JOULEGRID_ARCHIVE"] = str(tmp_path / "all archives")
    place = archive_of("kernel", True, output)
    assert place is not None and place.url.endswith("all archives")
    os.environ |= {"JOULEGRID_ARCHIVE": "results", "RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}
    with pytest.raises(PreFlightError, match="JOULEGRID_ARCHIVE: 'results' is relative"):
        archive_of("kernel", None, output)


def test_a_run_of_something_else_has_none(tmp_path: Path) -> None:
    run = shelf(tmp_path / "run")
    commit(run, done(Made()))
    assert list(contents_of(run)) == []
