"""A report of many results: constant memory, rows in the plan's order, a bounded record; late commits count once."""

from __future__ import annotations

import io
import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.report_memory import make_run
from joulegrid.actors.result import ExperimentResult
from joulegrid.cluster.storage import open_store
from joulegrid.jobs.report.assembly import assemble
from joulegrid.jobs.report.columns import headline_table
from joulegrid.jobs.report.failed_tasks import FailedTasks
from joulegrid.jobs.report.gathering import Gathering
from joulegrid.jobs.report.rows import SummaryRows
from joulegrid.jobs.report.run_report import read_run
from joulegrid.jobs.report.run_results import RunResults
from joulegrid.jobs.report.summary import Experiment, Summary, summarise
from joulegrid.jobs.report.summary_file import SummaryFile
from tests.jobs.report.results import Made, commit, done, failed, folder_of, inference_results, run_folder


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 500), max_size=40, unique=True), st.integers(1, 5_000))
def test_rows_come_in_the_order_of_the_plan_however_small_the_pieces(indices: list[int], piece_bytes: int) -> None:
    with SummaryRows(piece_bytes) as rows:
        for index in indices:
            summary = Summary()
            summary.add(done(Made(index=index)))
            for experiment in summary.experiments():
                rows.add(experiment)
        seen = list(rows.rows({}))
        assert [row.index for row in seen] == sorted(indices)
        assert seen == list(rows.rows({})) == summarise(done(Made(index=index)) for index in indices)
        assert rows.n_rows == rows.n_experiments == len(indices)


def test_letters_are_given_and_sorted_when_the_rows_are_read() -> None:
    both = Summary()
    for number in (0, 1):
        both.add(done(Made(cycle=number)), number)
    (experiment,) = both.experiments()
    with_failure = Experiment(experiment.index, experiment.key, experiment.rows, {"timeout": 2})
    rows = with_failure.told({0: "B", 1: "A"})
    assert [(row.stratum, row.n_failed) for row in rows] == [("A", 2), ("B", 0)]


def test_the_file_that_is_written_in_pieces_has_every_row(tmp_path: Path) -> None:
    results = inference_results(n_experiments=9)
    store = run_folder(tmp_path / "run", results)
    study = assemble(store, write_summary=True)
    with SummaryRows(piece_bytes=1) as rows:
        for index in random.Random(1).sample(range(9), 9):
            for experiment in _experiment(results[3 * index : 3 * index + 3]):
                rows.add(experiment)
        spilled = tmp_path / "spilled.parquet"
        SummaryFile(study.study_name, study.study_design_hash, rows.columns).write(rows.rows({}), spilled)
        assert list(rows.rows({})) == study.summary
    assert pq.read_table(io.BytesIO(store.get("summary.parquet"))).equals(pq.read_table(spilled))
    assert (study.n_summary_rows, len(study.summary)) == (9, 9)


def test_a_table_says_that_the_record_holds_the_first_rows_only(tmp_path: Path) -> None:
    report = read_run(run_folder(tmp_path / "run", inference_results()).url)
    cut = replace(report, study=report.study.model_copy(update={"n_summary_rows": 1_000_000}))
    assert headline_table([cut]).notes[0] == "The first 3 of 1,000,000 rows; all are in summary.parquet."
    assert not any("rows" in note for note in headline_table([report]).notes)


def test_memory_does_not_grow_with_the_number_of_results(tmp_path: Path) -> None:
    peaks = []
    for n_results in (100, 400, 1_200):  # the first one loads modules and fills caches
        folder = tmp_path / str(n_results)
        make_run(folder, n_results)
        tracemalloc.start()
        with SummaryRows(piece_bytes=20_000) as rows:
            gathering = Gathering(rows, FailedTasks({}))
            gathering.read(RunResults(open_store(folder)))
            assert (gathering.n_done, sum(1 for _ in rows.rows({}))) == (n_results, n_results // 2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < 200_000  # 800 results are 8 MB of JSON; the rows alone would be 6 MB of objects


def _experiment(results: list[ExperimentResult]) -> Iterator[Experiment]:
    summary = Summary()
    for result in results:
        summary.add(result)
    return summary.experiments()


def test_a_task_that_was_committed_after_it_had_failed_is_done_alone(tmp_path: Path) -> None:
    results = [failed(Made(index=0)), failed(Made(index=1)), done(Made(index=0, cycle=1))]
    store = run_folder(tmp_path / "run", results, failures_by_class={"oom_device": 2})
    commit(store, done(Made(index=0)))
    study = assemble(store)
    assert (study.counts.n_tasks, study.counts.done, study.counts.failed, study.counts.pending) == (3, 2, 1, 0)
    assert [(one.index, one.cycle) for one in study.failures] == [(1, 0)]
    assert study.failures_by_class == {"oom_device": 1}
    assert [(row.index, row.n_done, row.n_failed) for row in study.summary] == [(0, 2, 0), (1, 0, 1)]


def test_a_damaged_late_commit_leaves_the_failure(tmp_path: Path) -> None:
    store = run_folder(tmp_path / "run", [failed(Made()), done(Made(index=1))])
    late = done(Made())
    commit(store, late)
    store.put(f"{folder_of(late)}/result.json", b"{}")
    study = assemble(store)
    assert (study.counts.done, study.counts.damaged) == (1, 1)
    assert [(row.index, row.n_done, row.n_failed) for row in study.summary] == [(0, 0, 1), (1, 1, 0)]


def test_a_manifest_that_lists_only_some_failures_is_enough(tmp_path: Path) -> None:
    results = [done(Made(index=0)), failed(Made(index=1), "timeout")]
    counts = {"n_tasks": 20_000, "done": 1, "failed": 1_500, "skipped": 7}
    store = run_folder(tmp_path / "run", results, counts=counts, failures_by_class={"timeout": 1_400, "crash": 100})
    study = assemble(store)
    assert study.counts.model_dump() == {**counts, "pending": 18_492, "damaged": 0}
    assert study.failures_by_class == {"crash": 100, "timeout": 1_400}
    assert "1,499 failed tasks more than the manifest lists: no row counts them as its own" in study.notes
    assert [(row.index, row.n_failed) for row in study.summary] == [(0, 0), (1, 1)]


def test_results_are_read_one_by_one_in_the_order_of_the_markers(tmp_path: Path) -> None:
    """No result is read before the one ahead of it was used: nothing is collected."""
    store = run_folder(tmp_path / "run", inference_results(n_experiments=4, n_cycles=11))
    keys = [path.rpartition("/")[2].rpartition("-c")[0] for path in store.list("commit/")]
    changes = sum(one != other for one, other in pairwise(keys))
    assert changes == len(set(keys)) - 1 == 3
    assert [row.n_done for row in assemble(store).summary] == [11] * 4
