"""What the report says of energies: constants once, marks counted, parts apart, comparisons where a baseline is."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from joulegrid.errors import UsageError
from joulegrid.jobs.api import as_study
from joulegrid.jobs.commands import report_command
from joulegrid.jobs.loop.driver import check_plan
from joulegrid.jobs.plan.planning import plan_of
from joulegrid.jobs.report.assembly import assemble
from joulegrid.jobs.report.columns import headline_table
from joulegrid.jobs.report.details import gather
from joulegrid.jobs.report.markdown import markdown
from joulegrid.jobs.report.page import page
from joulegrid.jobs.report.plots import Figures
from joulegrid.jobs.report.run_report import read_run
from joulegrid.jobs.report.table import print_reports
from tests.jobs.report.results import Made, done, inference_results, modelled, run_folder
from tests.jobs.report.test_energy_parts import counter

if TYPE_CHECKING:
    from pathlib import Path

    from joulegrid.actors.result import ExperimentResult

DECLARED = b"execution: {report: {baseline: batch_size=1 dtype=float32}}"
TINY = {"model": "tiny-lm", "sweep": {"pytorch.batch_size": [1, 8]}}


def measured_results(n_cycles: int = 3) -> list[ExperimentResult]:
    results = []
    for index in range(3):
        for cycle in range(n_cycles):
            flags = ("short", "throttled") if index == 2 and cycle == 0 else ("short",)
            joules = 100.0 / (1 + index) + cycle
            made = Made(index=index, cycle=cycle, axes={"batch_size": index}, energy=counter(joules, flags=flags))
            results.append(done(made))
    return results


def texts(folder: Path, baseline: str | None = None) -> tuple[str, str, str]:
    """The report in a terminal, as Markdown and as a page."""
    run = read_run(folder, baseline)
    console = Console(file=StringIO(), width=120, highlight=False)
    print_reports([run], console)
    assert isinstance(console.file, StringIO)
    details = gather(run)
    return console.file.getvalue(), markdown(run, details, Figures()), page(run, details, Figures())


def test_what_is_alike_in_all_rows_stands_once_above_them_without_an_interval(tmp_path: Path) -> None:
    run_folder(tmp_path / "run", measured_results())
    table = headline_table([read_run(tmp_path / "run")])
    assert table.constants[0].startswith("In every row: n = 3")
    assert "window decode · every window short" in table.constants[0]
    assert "±" not in "".join(table.constants)
    assert "n" not in [column.title for column in table.numbers]
    assert [cell.note for cell in table.names[-1].cells] == ["", "", "throttled 1/3"]


def test_one_row_has_no_constants_to_tell_apart(tmp_path: Path) -> None:
    run_folder(tmp_path / "run", [done(Made())])
    assert "n" in [column.title for column in headline_table([read_run(tmp_path / "run")]).numbers]


def test_every_view_counts_the_marks_and_names_the_windows_it_sums(tmp_path: Path) -> None:
    run_folder(tmp_path / "run", measured_results())
    for text in map(" ".join, (view.split() for view in texts(tmp_path / "run"))):
        assert "9 of 9 done tasks short: a window under 10 s." in text
        assert "1 of 9 done tasks throttled: the device lowered its clocks." in text
        assert "in 18 windows (prefill, decode)" in text
        assert "±5 % sensor" in text
        assert "The sensor's own ±5 % comes on top" in text.replace("&#x27;", "'")


def test_the_parts_of_the_uncertainty_stand_apart(tmp_path: Path) -> None:
    run_folder(tmp_path / "run", measured_results())
    _, text, html = texts(tmp_path / "run")
    assert "### Uncertainty in parts" in text
    assert "| experiment | J/output token | repeats, % | edges, % | both, % |" in text
    assert "sensor, % = 5" in text
    assert "<h3>Uncertainty in parts</h3>" in html


def test_a_models_interval_is_said_once_where_it_is_in_one_proportion(tmp_path: Path) -> None:
    run_folder(tmp_path / "run", [done(Made(index=n, energy=modelled(30.0 + n))) for n in range(2)])
    terminal, _, _ = texts(tmp_path / "run")
    assert "Its interval is 0.500 to 1.75 times each value" in " ".join(terminal.split())
    assert "[15" not in terminal.partition("Energy of all")[0]
    assert "2 of 2 done tasks modelled" in terminal


def test_a_declared_baseline_is_compared_with_in_every_view_and_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = run_folder(tmp_path / "run", inference_results(3, 3))
    store.put("resolved.yaml", DECLARED)
    for text in texts(tmp_path / "run"):
        flat = " ".join(text.split())
        assert "Family of 6 tests: 2 experiments against the baseline, 3 metrics." in flat
        assert "1 device, fewer than three: this holds for these cards only." in flat
    report_command([str(tmp_path / "run")], write=False, output=None, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["comparisons"]["family_size"] == 6
    assert told["comparisons"]["comparisons"][0]["verdict"] == "lower"
    assert [row["on_front"] for row in told["summary"]] == [False, False, True]


def test_another_baseline_may_be_asked_for_when_a_run_is_finished(tmp_path: Path) -> None:
    store = run_folder(tmp_path / "run", inference_results(3, 3))
    store.put("resolved.yaml", DECLARED)
    store.put("study_result.json", assemble(store).model_dump_json().encode())
    assert read_run(tmp_path / "run").is_finished
    found = read_run(tmp_path / "run", "batch_size=4 dtype=float32").study.comparisons
    assert found is not None
    assert found.baseline_label == "batch_size=4 dtype=float32"
    assert all(one.verdict == "higher" for one in found.comparisons if one.metric.startswith("energy_per"))
    for wrong in ("batch_size=4", ""):
        with pytest.raises(UsageError, match="'batch_size=4 dtype=float32'"):
            read_run(tmp_path / "run", wrong)


@pytest.mark.parametrize("declared", [b"execution: {report: {baseline: gone}}", b"execution: [", b"execution: 3"])
def test_a_declared_baseline_that_is_not_there_costs_the_comparisons_alone(tmp_path: Path, declared: bytes) -> None:
    store = run_folder(tmp_path / "run", inference_results(2, 2))
    store.put("resolved.yaml", declared)
    found = assemble(store).comparisons
    assert found is None or "no experiment with a done task is named 'gone'" in (found.reason or "")
    terminal, _, html = texts(tmp_path / "run")
    assert ("Nothing is compared with" in terminal) == (found is not None)
    assert "Compared with the baseline" in html


def test_a_baseline_is_no_part_of_the_design_and_is_checked_before_a_run() -> None:
    plain, told = (as_study(TINY, fields) for fields in ({}, {"execution.report.baseline": "batch_size=8"}))
    assert plan_of(plain).study_design_hash == plan_of(told).study_design_hash
    check_plan(plan_of(told))
    with pytest.raises(
        UsageError, match=r"execution.report.baseline: .*'batch_size=7'.*'batch_size=8', 'batch_size=1'"
    ):
        check_plan(plan_of(as_study(TINY, {"execution.report.baseline": "batch_size=7"})))
    with pytest.raises(UsageError, match="did you mean"):
        as_study(TINY, {"execution.report.basline": "batch_size=8"})
