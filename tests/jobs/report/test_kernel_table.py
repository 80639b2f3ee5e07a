"""The figures of a study of kernels, from its results to the record and the page."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from joulegrid.actors.costs import EnergyDifference, EnergyPer
from joulegrid.jobs.report.assembly import assemble
from joulegrid.jobs.report.columns import headline_table
from joulegrid.jobs.report.kernel_figures import KernelFigures, KernelResults
from joulegrid.jobs.report.kernel_table import figures_table
from joulegrid.jobs.report.run_report import read_run, write_report
from joulegrid.jobs.report.table import print_reports
from joulegrid.jobs.study_result import StudyResult
from tests.jobs.report.results import Made, done, modelled, run_folder


def figures(*metrics: dict[str, Any], cycle: int = 0) -> list[KernelFigures]:
    results = KernelResults()
    for place, one in enumerate(metrics):
        results.add(done(made(place, cycle, one)))
    return results.figures({})


def made(index: int, cycle: int, metrics: dict[str, Any], workload: str = "kernel") -> Made:
    return Made(index=index, cycle=cycle, energy=modelled(10.0), metrics=metrics, workload=workload)


def kernel(case: str, verdict: str = "passed", candidate: str = "k.py", **numbers: float) -> dict[str, Any]:
    return {"verdict": verdict, "case": case, "candidate": candidate, "shape_weight": 1.0, **numbers}


def test_a_study_of_something_else_has_no_such_figures() -> None:
    results = KernelResults()
    results.add(done(made(0, 0, kernel("norm", speedup=2.0), workload="script")))
    assert results.figures({}) == []


def test_right_wrong_and_untimed_kernels_are_counted_as_they_are() -> None:
    found = figures(
        kernel("norm", speedup=2.5, roof_score=0.8),
        kernel("scan", "wrong_values"),
        kernel("pool"),
    )
    (told,) = found
    assert (told.n_kernels, told.n_passed, told.n_untimed) == (3, 2, 1)
    assert (told.fast_p["1"], told.fast_p["2"]) == (0.5, 0.5)
    assert told.roof_score is not None and told.roof_score.value == 0.4
    assert "Passed without times, and in no figure: 1." in figures_table(found).notes


def test_the_best_of_each_case_stands_beside_all_and_is_said_to_flatter() -> None:
    found = figures(kernel("norm", speedup=0.5), kernel("norm", candidate="better.py", speedup=3.0))
    assert [(one.name, one.fast_p["2"]) for one in found] == [("all", 0.5), ("best of each case", 1.0)]
    assert any("flatters" in note for note in figures_table(found).notes)


def test_a_kernel_that_failed_in_one_cycle_has_not_passed() -> None:
    results = KernelResults()
    for cycle, metrics in enumerate([kernel("norm", speedup=2.0), kernel("norm", "nondeterministic")]):
        results.add(done(made(0, cycle, metrics)))
    (told,) = results.figures({})
    assert (told.n_kernels, told.n_passed, told.geometric_mean) == (1, 0, None)


def test_environments_stand_apart_and_numbers_of_one_letter_together() -> None:
    results = KernelResults()
    for stratum, speedup in ((0, 1.5), (1, 3.0), (2, 4.0)):
        results.add(done(made(0, stratum, kernel("norm", speedup=speedup))), stratum)
    told = results.figures({0: "A", 1: "B", 2: "B"})
    means = [one.geometric_mean.value for one in told if one.geometric_mean is not None]
    assert [one.words for one in told] == ["all (A)", "all (B)"] and means == [1.5, 3.5]


def test_joules_of_a_call_are_a_column_and_unknown_where_they_are_not_said(tmp_path: Path) -> None:
    ends = {"energy_j": 0.002, "low_j": 0.001, "high_j": 0.004, "provenance": "modelled"}
    names = {"name": "candidate call", "minuend": "decode", "subtrahend": "prefill", "unit": "call"}
    known = EnergyDifference.model_validate({**names, **ends})
    nothing: dict[str, Any] = {"windows": [], "headline": None, "energy_per": [], "work": {}}
    update: list[dict[str, Any]] = [{"differences": [known]}, {"differences": []}, nothing]
    results = [
        done(made(place, 0, kernel("norm"))).model_copy(
            update={"energy_per": [EnergyPer(unit="call_and_its_inputs", energy_j=0.2)], **one}
        )
        for place, one in enumerate(update)
    ]
    store = run_folder(tmp_path / "run", results)
    table = headline_table([read_run(store.url)])
    (column,) = [one for one in table.numbers if "J/call" in one.title]
    assert (column.title, column.note) == ("candidate call, J/call", "modelled, CPU")
    assert [cell.text for cell in column.cells] == ["0.002000", "unknown", "–"]
    assert column.cells[0].note == "[0.00100–0.00400]"
    assemble(store, write_summary=True)
    parquet = pq.read_table(tmp_path / "run" / "summary.parquet")
    assert parquet["differences.candidate call.mean"].to_pylist() == [0.002, None, None]


def test_record_terminal_markdown_and_page_tell_them(tmp_path: Path) -> None:
    results = [done(made(place, 0, kernel(case, speedup=1.6, roof_score=0.7))) for place, case in enumerate("ab")]
    store = run_folder(tmp_path / "run", results)
    record = json.loads(assemble(store).model_dump_json())
    assert StudyResult.model_validate(record).kernels == assemble(store).kernels
    (told,) = record["kernels"]
    assert told["fast_p"] == {"1": 1.0, "1.1": 1.0, "1.5": 1.0, "2": 0.0}
    assert told["geometric_mean"].keys() == {"value", "low", "high"} and told["stratum"] is None
    drawn = Console(file=io.StringIO(), width=160)
    print_reports([read_run(store.url)], drawn)
    assert isinstance(drawn.file, io.StringIO) and "fast_1.5" in drawn.file.getvalue()
    page = Path(write_report(store.url)).read_text()
    assert "Kernels against the strongest baseline" in page and "fast_1.5" in page
    assert "## Kernels against the strongest baseline" in (tmp_path / "run" / "report" / "report.md").read_text()
