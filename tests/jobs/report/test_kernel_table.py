"""The figures of a study of kernels, from its rows to the page."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from joulegrid.jobs.report.kernel_table import judged_of, kernel_table
from joulegrid.jobs.report.run_report import read_run, write_report
from joulegrid.jobs.report.summary import summarise
from joulegrid.jobs.report.summary_row import SummaryRow
from joulegrid.jobs.report.table import print_reports
from tests.jobs.report.results import Made, done, modelled, run_folder


def rows(*metrics: dict[str, Any]) -> list[SummaryRow]:
    made = [Made(index=place, energy=modelled(10.0), metrics=one) for place, one in enumerate(metrics)]
    return summarise(map(done, made))


def kernel(case: str, verdict: str = "passed", candidate: str = "k.py", **numbers: float) -> dict[str, Any]:
    return {"verdict": verdict, "case": case, "candidate": candidate, "shape_weight": 1.0, **numbers}


def cells(found: list[SummaryRow], title: str) -> list[str]:
    drawn = kernel_table(found)
    assert drawn is not None
    return [cell.text for column in drawn.numbers if column.title == title for cell in column.cells]


def test_a_study_of_something_else_has_no_such_table() -> None:
    assert kernel_table(rows({"output_tokens_per_s": 3.0})) is None


def test_right_wrong_and_untimed_kernels_are_counted_as_they_are() -> None:
    found = rows(
        kernel("norm", speedup=2.5, roof_score=0.8),
        kernel("scan", "wrong_values"),
        kernel("pool"),
    )
    assert (cells(found, "kernels"), cells(found, "passed")) == (["3"], ["2"])
    assert [cells(found, f"fast_{p}") for p in ("1", "2")] == [["0.50"], ["0.50"]]
    assert cells(found, "score against the roof") == ["0.400"]
    drawn = kernel_table(found)
    assert drawn is not None and "Passed without times, and in no figure: 1." in drawn.notes


def test_the_best_of_each_case_stands_beside_all_and_is_said_to_flatter() -> None:
    found = rows(kernel("norm", speedup=0.5), kernel("norm", candidate="better.py", speedup=3.0))
    assert cells(found, "fast_2") == ["0.50", "1.00"]
    drawn = kernel_table(found)
    assert drawn is not None and any("flatters" in note for note in drawn.notes)


def test_a_kernel_that_failed_in_one_cycle_has_not_passed() -> None:
    made = [
        Made(cycle=cycle, energy=modelled(10.0), metrics=metrics)
        for cycle, metrics in enumerate([kernel("norm", speedup=2.0), kernel("norm", "nondeterministic")])
    ]
    (judged,) = judged_of(summarise(map(done, made)))
    assert not judged.passed and judged.speedup is None


def test_terminal_markdown_and_page_show_it(tmp_path: Path) -> None:
    results = [
        done(Made(index=place, energy=modelled(10.0), metrics=kernel(case, speedup=1.6, roof_score=0.7)))
        for place, case in enumerate(("norm", "scan"))
    ]
    store = run_folder(tmp_path / "run", results)
    drawn = Console(file=io.StringIO(), width=160)
    print_reports([read_run(store.url)], drawn)
    assert isinstance(drawn.file, io.StringIO) and "fast_1.5" in drawn.file.getvalue()
    page = Path(write_report(store.url)).read_text()
    assert "Kernels against the strongest baseline" in page and "fast_1.5" in page
    assert "## Kernels against the strongest baseline" in (tmp_path / "run" / "report" / "report.md").read_text()
