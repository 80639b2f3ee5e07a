"""Results of unlike environments: never averaged, told apart by a letter, with what differs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from joulegrid.actors.result import ExperimentResult
from joulegrid.jobs.report.assembly import assemble
from joulegrid.jobs.report.details import gather
from joulegrid.jobs.report.energy_plot import energy_bars
from joulegrid.jobs.report.markdown import markdown
from joulegrid.jobs.report.page import page
from joulegrid.jobs.report.plots import Figures
from joulegrid.jobs.report.run_report import read_run
from joulegrid.jobs.report.strata import Strata, _letters
from tests.jobs.report.results import Made, done, measured, modelled, run_folder

if TYPE_CHECKING:
    from pathlib import Path


def elsewhere(result: ExperimentResult, started_at: str, **changed: object) -> ExperimentResult:
    """The same result, from an environment that differs."""
    environment = result.environment.model_copy(update={"hostname": "node-2", **changed})
    timing = result.timing.model_copy(update={"started_at": started_at})
    return result.model_copy(update={"environment": environment, "timing": timing})


def updated(result: ExperimentResult) -> ExperimentResult:
    packages = {**result.environment.packages, "torch": "2.14.0"}
    return elsewhere(result, "2026-03-02T10:00:00Z", packages=packages)


def continued(n_experiments: int = 2) -> list[ExperimentResult]:
    """Two cycles before an update of torch, which made everything twice as fast, and one after it."""
    results = []
    for index in range(n_experiments):
        axes = {"pytorch.batch_size": index + 1}
        results += [done(Made(index=index, cycle=cycle, axes=axes, seconds=10.0 + cycle)) for cycle in range(2)]
        results.append(updated(done(Made(index=index, cycle=2, axes=axes, seconds=5.0, energy=measured(250.0)))))
    return results


def test_rows_are_per_experiment_and_stratum_with_the_earlier_one_first(tmp_path: Path) -> None:
    study = assemble(run_folder(tmp_path / "run", continued()))
    assert [(row.index, row.stratum, row.n_done, row.seconds and row.seconds.mean) for row in study.summary] == [
        (0, "A", 2, 10.5),
        (0, "B", 1, 5.0),
        (1, "A", 2, 10.5),
        (1, "B", 1, 5.0),
    ]
    first, second = study.strata
    assert (first.letter, first.n_done, first.nodes, first.differences) == ("A", 4, ["node-1"], [])
    assert (second.letter, second.n_done, second.nodes) == ("B", 2, ["node-2"])
    assert second.differences == ["torch: 2.13.0 → 2.14.0"]
    assert second.environment["torch"] == "2.14.0"


def test_table_page_and_figure_tell_the_strata_apart(tmp_path: Path) -> None:
    run = read_run(run_folder(tmp_path / "run", continued()).url)
    details = gather(run)
    assert [one.name for one in details.configurations] == ["batch_size=1", "batch_size=2"]
    for text in (markdown(run, details, Figures()), page(run, details, Figures())):
        assert "size=1 (A)" in text
        assert "size=2 (B)" in text
        assert "Stratum A: 4 tasks on node-1." in text
        assert "unlike A in torch: 2.13.0 → 2.14.0." in text
    figure = energy_bars(run.study.summary)
    assert not isinstance(figure, str)
    assert "batch_size=1 (B)" in figure.svg


def test_the_parquet_summary_has_the_letters(tmp_path: Path) -> None:
    store = run_folder(tmp_path / "run", continued())
    assemble(store, write_summary=True)
    table = pq.read_table(io.BytesIO(store.get("summary.parquet")))
    assert table["stratum"].to_pylist() == ["A", "B", "A", "B"]


def test_one_environment_is_one_stratum_without_letters(tmp_path: Path) -> None:
    results = [elsewhere(done(Made(cycle=cycle)), "2026-03-01T09:00:00Z") for cycle in range(2)]
    study = assemble(run_folder(tmp_path / "run", [*results, done(Made(cycle=2))]))
    assert [(row.stratum, row.n_done) for row in study.summary] == [(None, 3)]
    (only,) = study.strata
    assert (only.nodes, only.first_started_at) == (["node-1", "node-2"], "2026-03-01T09:00:00Z")


def test_another_processor_is_another_stratum(tmp_path: Path) -> None:
    result = done(Made(cycle=1))
    cpu = result.environment.cpu.model_copy(update={"model": "Xeon 8480"})
    study = assemble(run_folder(tmp_path / "run", [done(Made()), elsewhere(result, "2026-03-02T10:00:00Z", cpu=cpu)]))
    assert [one.differences for one in study.strata] == [[], ["CPU: AMD EPYC 9554 → Xeon 8480"]]


def test_gpu_and_cpu_lanes_of_like_nodes_are_one_stratum(tmp_path: Path) -> None:
    results = [done(Made(index=0)), done(Made(index=1, energy=modelled(30.0)))]
    study = assemble(run_folder(tmp_path / "run", results))
    assert [row.stratum for row in study.summary] == [None, None]
    assert [(one.n_done, one.environment["gpus"]) for one in study.strata] == [(2, ["NVIDIA H200"])]


def test_letters_go_on_after_z() -> None:
    assert [_letters(place) for place in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]
    assert Strata().told() == ([], {})
