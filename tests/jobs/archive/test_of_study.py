"""What a study of kernels archives when it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulegrid.cluster.storage import open_store
from joulegrid.errors import UsageError
from joulegrid.jobs.archive.of_study import archived
from joulegrid.jobs.archive.shelf import take_down
from tests.cases.candidates import RIGHT
from tests.jobs.studies import run, study_of

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_here")]


def test_a_study_of_kernels_leaves_its_archives_beside_its_runs_once(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "reads.py").write_text(f"import os\n{RIGHT}")  # refused before anything runs, which is quick
    out = tmp_path / "out"
    done = run(
        {
            "study_name": "kernels",
            "workload": "kernel",
            "kernel": {"case": "rmsnorm", "steps": ["verify"], "candidate": str(tmp_path / "reads.py")},
            "sweep": {"kernel.dtype": ["fp32", "bf16"]},
            "output": str(out),
        }
    )
    assert done.counts.done == 2 and done.kernels[0].n_passed == 0
    opened = take_down(open_store(out), "rmsnorm-reads-failed")
    assert opened.record.run == done.run and not opened.damaged
    assert [(point.dtype, point.verdict) for point in opened.record.points] == [
        ("fp32", "forbidden"),
        ("bf16", "forbidden"),
    ]
    assert {"environment.json", "candidate.py", "case/model.py"} <= opened.record.files.keys()
    assert list(archived(open_store(done.run), open_store(out))) == [opened.record]
    assert list(open_store(out).child("archive").folders()) == [opened.record.name]


def test_archives_of_another_workload_are_refused_before_a_run_begins(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"execution\.archive: only kernels are archived"):
        run(study_of(tmp_path, execution={"archive": True}))
    assert not list((tmp_path / "out").glob("tiny_*"))
