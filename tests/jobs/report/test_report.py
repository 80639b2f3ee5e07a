from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from joulegrid.errors import UsageError
from joulegrid.jobs.report.assembly import assemble
from joulegrid.jobs.report.quantity import number, plain, title_of, unit_of, with_interval
from joulegrid.jobs.report.run_report import read_run, read_runs, report
from joulegrid.jobs.report.table import print_reports
from joulegrid.jobs.status.status import read_status
from joulegrid.jobs.study_result import StudyResult
from tests.jobs.report.results import (
    HASH,
    Made,
    done,
    failed,
    folder_of,
    inference_results,
    measured,
    modelled,
    no_energy,
    run_folder,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joulegrid.cluster.storage import Store


def closed(folder: Path, results: Sequence[object], **manifest: object) -> Store:
    store = run_folder(folder, results, **manifest)  # type: ignore[arg-type]
    store.put("study_result.json", assemble(store).model_dump_json().encode())
    return store


def shown(*runs: Path, width: int = 100) -> str:
    console = Console(file=StringIO(), width=width, highlight=False)
    print_reports(read_runs([str(run) for run in runs]), console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (123.456, 1.234, "123.5 ± 1.2"),
        (0.0123456, 0.00012, "0.01235 ± 0.00012"),
        (100, 450, "100 ± 450"),
        (0.0551, 0.1823, "0.055 ± 0.182"),
        (3.9, 12.0, "3.9 ± 12.0"),
        (1.2e-6, 3e-8, "(1.200 ± 0.030)e-06"),
        (12.3456, 1e-9, "12.34560 ± 1.0e-09"),
        (512, 0, "512 ± 0"),
        (0.0, 0.3, "0.00 ± 0.30"),
        (12345.6, None, "12,346"),
    ],
)
def test_a_number_has_the_digits_of_its_interval(mean: float, half: float | None, text: str) -> None:
    assert with_interval(mean, half) == text


def test_units_are_read_from_names() -> None:
    assert title_of("throughput.output_tokens_per_s") == "throughput output tokens/s"
    assert title_of("ttft_s.p50") == "ttft p50, s"
    assert title_of("latency.ttft_s.n") == "latency ttft s n"
    assert unit_of("flops.shape.layers") is None
    assert unit_of("loss") is None
    assert number(float("nan")) == "–"
    assert plain("a\x1b[31mb\x07\u202ec") == "abc"


def test_the_result_counts_only_what_its_marker_vouches_for(tmp_path: Path) -> None:
    results = inference_results(2, 2)
    store = run_folder(tmp_path / "run", results)
    store.put(f"{folder_of(results[0])}/result.json", b"{}")
    study = assemble(store)
    assert (study.counts.done, study.counts.damaged, study.counts.n_tasks) == (3, 1, 4)
    assert [row.n_done for row in study.summary] == [1, 2]
    assert "other bytes than were committed" in study.notes[0]


def test_a_marker_without_its_result_or_without_sense_is_damaged(tmp_path: Path) -> None:
    results = inference_results(1, 1)
    store = run_folder(tmp_path / "run", results)
    store.put("commit/aa/aaaa-c0", b"not json")
    store.put("commit/bb/bbbb-c0", json.dumps({"path": "results/nowhere", "sha256": "0"}).encode())
    assert assemble(store).counts.damaged == 2


def test_a_study_result_survives_its_file_and_reads_its_results_lazily(tmp_path: Path) -> None:
    results = [*inference_results(2, 2), failed(Made(index=2))]
    closed(tmp_path / "run", results)
    study = read_run(tmp_path / "run").study
    assert StudyResult.model_validate_json(study.model_dump_json()) == study
    assert [(one.index, one.cycle, one.status) for one in study.results] == [
        (0, 0, "done"),
        (0, 1, "done"),
        (1, 0, "done"),
        (1, 1, "done"),
        (2, 0, "failed"),
    ]
    assert (study.n_experiments, study.n_cycles, study.study_design_hash) == (3, 2, HASH)
    assert study.failures[0].failure_class == "oom_device"
    assert study.summary[2].axes == {"pytorch.batch_size": 1}


def test_energy_totals_are_kept_apart_by_kind(tmp_path: Path) -> None:
    results = [
        done(Made(cycle=0, energy=measured(10.0))),
        done(Made(cycle=1, energy=modelled(30.0))),
        done(Made(cycle=2, energy=no_energy())),
    ]
    totals = assemble(run_folder(tmp_path / "run", results)).energy
    assert [(total.provenance, total.energy_j, total.n_windows) for total in totals] == [
        ("measured", 11.0, 2),
        ("modelled", 113.0, 3),  # 30 in decode, 3 in prefill, 80 of the CPU beside the GPU
        (None, None, 2),
    ]


def test_a_run_that_went_on_after_its_closing_record_is_read_anew(tmp_path: Path) -> None:
    closed(tmp_path / "run", inference_results(2, 1))
    assert read_run(tmp_path / "run").is_finished
    run_folder(tmp_path / "run", inference_results(2, 2), state="running")
    again = read_run(tmp_path / "run")
    assert (again.is_finished, again.study.counts.done, again.study.state) == (False, 4, "running")


def test_a_moved_run_is_read_where_it_is_now(tmp_path: Path) -> None:
    closed(tmp_path / "old", inference_results(1, 1))
    (tmp_path / "old").rename(tmp_path / "new")
    assert len(read_run(tmp_path / "new").study.results) == 1


def test_a_folder_that_is_no_run_is_a_usage_error_that_names_runs(tmp_path: Path) -> None:
    closed(tmp_path / "results" / "batch-sizes_1", inference_results(1, 1))
    with pytest.raises(UsageError, match="batch-sizes_1"):
        read_run(tmp_path / "results")
    with pytest.raises(UsageError, match="no run at"):
        read_run(tmp_path / "nothing")


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_cuts_no_number(tmp_path: Path, width: int) -> None:
    closed(tmp_path / "run", inference_results())
    text = shown(tmp_path / "run", width=width)
    assert max(map(len, text.splitlines())) <= width
    for part in ("205.0 ± 2.2", "1.857 ± 0.059", "0.07993 ± 0.00085", "39.96 ± 0.43", "15,209 ± 481", "tokens/s"):
        assert part in text
    assert "…" not in text
    assert "measured, GPU" in " ".join(text.split())
    assert "commit 012345678 with local changes" in " ".join(text.split())


def test_rows_of_different_kinds_of_energy_each_say_theirs(tmp_path: Path) -> None:
    results = [done(Made(cycle=0)), done(Made(cycle=1, energy=modelled(30.0))), done(Made(cycle=2, energy=no_energy()))]
    text = shown(Path(closed(tmp_path / "run", results).url), width=160)
    assert all(f"energy {words}" in text for words in ("measured, GPU", "modelled, CPU", "unknown"))
    assert "no power source on this node" in text
    assert "n = 1: one cycle, no interval." in text
    assert "±" not in text


@pytest.mark.parametrize(
    "results", [[], [failed(Made(index=index), "timeout", "[red]killed[/]") for index in range(8)]]
)
def test_runs_without_a_done_task_are_legible(tmp_path: Path, results: list[object]) -> None:
    text = shown(Path(closed(tmp_path / "run", results).url))
    assert f"0 of {len(results)} tasks done" in text
    if results:
        assert "timeout: [red]killed[/]" in text
        assert "3 more failed tasks" in text


def test_a_script_shows_its_own_metrics_and_words(tmp_path: Path) -> None:
    metrics = {"loss": float("nan"), "accuracy_percent": 91.2, "verdict": "correct", "nothing": None}
    results = [done(Made(workload="script", metrics=metrics, label="<a & [b]> 日本", energy=no_energy()))]
    text = shown(Path(closed(tmp_path / "run", results).url), width=120)
    assert all(part in text for part in ("<a & [b]> 日本", "accuracy, %", "91.20", "verdict", "correct", "unknown"))
    assert "nothing" not in text.partition("Energy")[0]


def test_several_runs_have_short_names_and_tell_whether_they_compare(tmp_path: Path) -> None:
    first, second = tmp_path / "batch-sizes_2026-03-01-aaaa", tmp_path / "batch-sizes_2026-03-02-bbbb"
    closed(first, inference_results(1, 2))
    closed(second, inference_results(1, 2), study_design_hash="0" * 16)
    text = shown(first, second)
    assert [one.name for one in read_runs([str(first), str(second)])] == ["01-aaaa", "02-bbbb"]
    assert "different designs" in text
    assert "same design" in shown(first, first)


def test_a_finished_run_is_told_without_heavy_imports(tmp_path: Path) -> None:
    closed(tmp_path / "run", inference_results())
    code = (
        "import sys\nfrom joulegrid.jobs.report.run_report import report\n"
        f"report([{str(tmp_path / 'run')!r}])\n"
        "print([name for name in ('ray', 'torch', 'pyarrow', 'matplotlib', 'boto3', 'numpy') if name in sys.modules])"
    )
    done_run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done_run.stdout.rstrip().endswith("[]")


BROKEN_TASKS = [
    5,
    None,
    {"status": 7},
    {"status": "failed", "index": "x", "cycle": "y", "key": 5, "attempt": "z", "path": ["a"], "failure": 3},
    {"status": "failed", "index": 1e30, "cycle": -1, "path": "../../etc", "message": "\ud800", "label": {}},
]
BROKEN_FIELDS = [
    {"tasks": BROKEN_TASKS},
    {"tasks": 5, "counts": "many", "failures_by_class": {"app": "two"}, "notes": 5},
    {"tasks": {"a": 1}, "counts": {"done": "x", "failed": None}, "notes": [1, "kept"], "skipped": [{"reason": 1}, 2]},
    {"study_name": 5, "started_at": 7, "ended_at": [], "duration_s": "long", "n_cycles": "two", "n_experiments": 1e400},
    {"state": ["done"], "cycle_order": 3, "unfenced": "perhaps", "n_duplicates": "none", "study_design_hash": {}},
]


@pytest.mark.parametrize("broken", BROKEN_FIELDS, ids=range(len(BROKEN_FIELDS)))
def test_a_manifest_that_was_edited_into_nonsense_costs_its_fields_and_not_the_report(
    tmp_path: Path, broken: dict[str, object]
) -> None:
    store = run_folder(tmp_path, [done(Made(index=0))], **broken)
    report([str(tmp_path)])
    found = assemble(store)
    assert found.counts.done == 1
    assert len(list(found.iter_results())) == 1
    assert read_status(store).state
