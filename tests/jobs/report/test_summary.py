from __future__ import annotations

import io
import math
import statistics

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegrid.jobs.report.statistic import Running
from joulegrid.jobs.report.summary import FailedTask, summarise
from joulegrid.jobs.report.summary_file import write_summary_parquet
from joulegrid.student import student_t
from tests.jobs.report.results import Made, done, failed, inference_results, key_of, measured, modelled, no_energy


@pytest.mark.parametrize(
    ("freedom", "t"),
    # Two-sided 95 %: any table of Student's t, e.g. NIST/SEMATECH e-Handbook of Statistical Methods 1.3.6.7.2.
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (29, 2.045), (100, 1.984)],
)
def test_student_t_agrees_with_the_printed_table(freedom: int, t: float) -> None:
    assert student_t(freedom) == pytest.approx(t, abs=5e-4)


def test_the_series_and_the_expansion_of_student_t_meet() -> None:
    assert student_t(200) - student_t(201) == pytest.approx(student_t(201) - student_t(202), rel=0.02)
    assert student_t(10**6) == pytest.approx(1.959966, abs=1e-5)


def test_an_interval_needs_two_values() -> None:
    with pytest.raises(ValueError, match="two values"):
        student_t(0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_running_statistics_equal_those_of_the_whole_list(values: list[float]) -> None:
    running = Running()
    for value in values:
        running.add(value)
    seen = running.statistic()
    assert seen is not None
    assert seen.sd is not None
    assert seen.mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert seen.sd == pytest.approx(statistics.stdev(values), abs=1e-6)


def test_three_cycles_give_the_hand_calculated_interval() -> None:
    rows = summarise(done(Made(cycle=cycle, seconds=seconds)) for cycle, seconds in enumerate([9.0, 10.0, 11.0]))
    (row,) = rows
    assert row.seconds is not None
    assert (row.seconds.n, row.seconds.mean, row.seconds.sd) == (3, 10.0, 1.0)
    assert row.seconds.high == pytest.approx(10 + 4.30265 / math.sqrt(3), abs=1e-4)


def test_one_cycle_has_no_interval_and_no_deviation() -> None:
    (row,) = summarise([done(Made())])
    assert row.seconds is not None
    assert (row.seconds.sd, row.seconds.low, row.seconds.high, row.seconds.half_width) == (None, None, None, None)


def test_measured_and_modelled_cycles_are_never_averaged() -> None:
    rows = summarise([done(Made(cycle=0, energy=measured(10.0))), done(Made(cycle=1, energy=modelled(30.0)))])
    assert [(row.provenance, row.n_done, row.energy_j and row.energy_j.mean) for row in rows] == [
        ("measured", 1, 10.0),
        ("modelled", 1, 30.0),
    ]


def test_modelled_energy_keeps_the_ends_its_source_states() -> None:
    (row,) = summarise(done(Made(cycle=cycle, energy=modelled(30.0))) for cycle in range(2))
    assert row.energy_j is not None
    assert (row.energy_j.stated_low, row.energy_j.stated_high) == (15.0, 52.5)
    assert row.energy_per["output_token"].stated_high == pytest.approx(0.0525)
    assert row.interval == "from idle power to the rated power of all cores"


def test_unknown_energy_stays_null_and_says_why() -> None:
    (row,) = summarise([done(Made(energy=no_energy()))])
    assert row.energy_j is None
    assert row.energy_per == {}
    assert row.unknown is not None
    assert "no power source" in row.unknown
    assert row.seconds is not None


def test_numbers_that_are_not_finite_and_texts_are_no_statistics() -> None:
    metrics = {"loss": math.nan, "verdict": "correct", "ok": True, "none": None, "deep": {"x_ms": 3, "list": [1]}}
    (row,) = summarise([done(Made(metrics=metrics)), done(Made(cycle=1, metrics={**metrics, "loss": 0.5}))])
    assert row.metrics["loss"].n == 1
    assert row.metrics["deep.x_ms"].unit == "ms"
    assert set(row.metrics) == {"loss", "deep.x_ms"}
    assert row.texts == {"loss": ["nan"], "verdict": ["correct"], "ok": ["True"]}


def test_failures_are_counted_by_class_and_have_no_numbers() -> None:
    tasks = [FailedTask(7, key_of(7), "seven", "timeout")]
    rows = summarise([failed(Made(index=0)), done(Made(index=0, cycle=1)), failed(Made(index=1))], tasks)
    assert [(row.index, row.n_done, row.n_failed, row.failures) for row in rows] == [
        (0, 1, 1, {"oom_device": 1}),
        (1, 0, 1, {"oom_device": 1}),
        (7, 0, 1, {"timeout": 1}),
    ]
    assert rows[1].axes == {"pytorch.batch_size": 1}
    assert rows[2].seconds is None


def test_the_parquet_summary_has_typed_columns_axes_and_the_study() -> None:
    rows = summarise(inference_results())
    table = pq.read_table(io.BytesIO(write_summary_parquet(rows, study_name="s", study_design_hash="h")))
    assert table.num_rows == 3
    assert table["axis.pytorch.batch_size"].to_pylist() == [1, 2, 4]
    assert str(table.schema.field("axis.pytorch.batch_size").type) == "int64"
    assert str(table.schema.field("metrics.output_tokens_per_s.mean").type) == "double"
    assert table.schema.field("energy_per.output_token.mean").metadata == {b"unit": b"J/output token"}
    assert table.schema.metadata[b"joulegrid.study_name"] == b"s"
    assert table["provenance"].to_pylist() == ["measured"] * 3


def test_the_parquet_summary_takes_mixed_axes_and_no_rows() -> None:
    rows = summarise([done(Made(index=0, axes={"a": 1, "b": 2**70})), done(Made(index=1, axes={"a": "x", "b": [1]}))])
    table = pq.read_table(io.BytesIO(write_summary_parquet(rows, study_name="s", study_design_hash=None)))
    assert table["axis.a"].to_pylist() == ["1", '"x"']
    assert table["axis.b"].to_pylist() == [str(2**70), "[1]"]
    empty = pq.read_table(io.BytesIO(write_summary_parquet([], study_name="s", study_design_hash=None)))
    assert (empty.num_rows, "energy_j.mean" in empty.column_names) == (0, True)
