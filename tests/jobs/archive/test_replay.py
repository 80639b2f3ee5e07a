"""A replay judges again: an archive that holds, one that never should have, one that was damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from joulegrid.cases.judging import Judgement, subject, verified
from joulegrid.cluster.storage import Store
from joulegrid.errors import UsageError
from joulegrid.jobs.archive.from_judgement import contents_of
from joulegrid.jobs.archive.record import Archived
from joulegrid.jobs.archive.replay import replay
from joulegrid.jobs.archive.shelf import Contents, PointFiles, keep, take_down
from joulegrid.kernels.judge.zygote import Zygote
from tests.cases.candidates import right, wrong
from tests.jobs.archive.shelves import NOON, shelf


def judged(candidate: Path, zygote: Zygote) -> Contents:
    one = subject("rmsnorm", candidate, "tiny", "fp32")
    found = verified(one.problem, one.candidate, "fp32", zygote=zygote)
    return contents_of([Judgement(one, found)], candidate.stem, b"{}")


def claimed(contents: Contents, verdict: str) -> Contents:
    """The same, with another verdict written into it."""
    points = [PointFiles(one.point.model_copy(update={"verdict": verdict}), one.files) for one in contents.points]
    return Contents(**{name: getattr(contents, name) for name in Contents.__slots__} | {"points": tuple(points)})


def kept(store: Store, contents: Contents) -> Archived:
    return keep(store, contents, NOON)


def test_an_archive_holds_with_its_own_seeds_and_with_fresh_ones(zygote: Zygote, tmp_path: Path) -> None:
    store = shelf(tmp_path / "store")
    record = kept(store, judged(right(tmp_path), zygote))
    found = replay(take_down(store, record.name), zygote)
    assert found.holds and found.case_now == "same"
    assert [(one.fresh, one.found) for one in found.judged] == [(False, "passed"), (True, "passed")]
    assert found.judged[0].seeds == record.points[0].seeds != found.judged[1].seeds


def test_a_claim_that_is_not_true_does_not_hold_and_a_failure_goes_on_failing(zygote: Zygote, tmp_path: Path) -> None:
    store = shelf(tmp_path / "store")
    contents = judged(wrong(tmp_path), zygote)
    failed, false = kept(store, contents), kept(store, claimed(contents, "passed"))
    assert failed.name.endswith("-failed") and false.name.endswith("-untimed")
    assert replay(take_down(store, failed.name), zygote, fresh=False).holds
    found = replay(take_down(store, false.name), zygote, fresh=False)
    assert not found.holds and "values at the tiny shape" in found.judged[0].why


def test_a_damaged_archive_is_not_run_nor_one_whose_case_is_another(zygote: Zygote, tmp_path: Path) -> None:
    store = shelf(tmp_path / "store")
    contents = judged(wrong(tmp_path), zygote)
    record = kept(store, contents)
    (tmp_path / "store" / "archive" / record.name / "candidate.py").write_text("import os\nos._exit(7)\n")
    found = replay(take_down(store, record.name), zygote)
    assert not found.holds and found.damaged == ["candidate.py"] and found.judged == []
    files = {**contents.case_files, "model.py": b"# nothing\n"}
    values = {name: getattr(contents, name) for name in Contents.__slots__} | {"case_files": files}
    other = kept(store, Contents(**values))
    with pytest.raises(UsageError, match="fingerprint"):
        replay(take_down(store, other.name), zygote)
