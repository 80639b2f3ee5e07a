"""The uncertainty of an energy in parts, its marks, and what stands beside it."""

from __future__ import annotations

import io
import math
import random
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from joulegrid.cluster.power.energy import CrossCheck, Energy, Net
from joulegrid.jobs.report.assembly import assemble
from joulegrid.jobs.report.energy_plot import net_energy
from joulegrid.jobs.report.energy_statistic import EnergyStatistic, RunningEnergy
from joulegrid.jobs.report.summary import summarise
from tests.jobs.report.results import Made, done, inference_results, modelled, run_folder

if TYPE_CHECKING:
    from pathlib import Path


def counter(energy_j: float, edge_j: float = 3.0, **more: object) -> Energy:
    """Joules of a counter with its edges' interval and NVIDIA's accuracy."""
    ends = {"low_j": energy_j - edge_j, "high_j": energy_j + edge_j}
    fields = {"source": "counter", "provenance": "measured", "scope": "gpu_board", "device": "GPU-1"}
    return Energy.model_validate({"energy_j": energy_j, **ends, **fields, "systematic": 0.05, **more})


def over_cycles(*energies: Energy) -> EnergyStatistic:
    running = RunningEnergy()
    for energy in energies:
        running.add(energy.energy_j, energy.low_j, energy.high_j, energy)
    statistic = running.statistic("J")
    assert statistic is not None
    return statistic


def test_independent_edges_shrink_with_the_root_of_the_cycles() -> None:
    statistic = over_cycles(*(counter(energy_j) for energy_j in (99.0, 100.0, 101.0)))
    assert statistic.edges == pytest.approx(3.0 / math.sqrt(3))
    assert statistic.repeats == pytest.approx(4.30265 / math.sqrt(3), abs=1e-4)
    assert statistic.half_width == pytest.approx(math.hypot(3.0, 4.30265) / math.sqrt(3), abs=1e-4)
    assert statistic.systematic == 0.05
    assert statistic.known_parts == ("repeats", "edges")


def test_edges_with_a_cause_that_all_cycles_share_do_not_shrink() -> None:
    statistic = over_cycles(*(counter(100.0, flags=("tail_undecided",)) for _ in range(9)))
    assert statistic.edges == pytest.approx(3.0)


def test_uneven_ends_stay_uneven() -> None:
    statistic = over_cycles(counter(100.0, low_j=100.0, high_j=104.0), counter(100.0, low_j=100.0, high_j=103.0))
    assert (statistic.edges_low, statistic.edges_high) == (100.0, 102.5)


def test_one_cycle_has_edges_and_no_repeats() -> None:
    statistic = over_cycles(counter(100.0))
    assert (statistic.repeats, statistic.edges, statistic.half_width) == (None, 3.0, 3.0)


def test_unknown_parts_are_null() -> None:
    partly = over_cycles(counter(100.0), counter(101.0, low_j=None, high_j=None, systematic=None))
    assert (partly.edges, partly.edges_low, partly.systematic) == (None, None, None)
    model = over_cycles(modelled(30.0), modelled(31.0))
    assert (model.edges, model.systematic, model.known_parts) == (None, None, ("repeats",))
    assert model.stated_low == pytest.approx(15.25)


@pytest.mark.parametrize("edge_sd", [0.1, 2.0])
def test_repeats_and_edges_together_cover_the_truth(edge_sd: float) -> None:
    """Independent edge errors of a known deviation on top of a spread of 1 J; never under 95 %, by design."""
    chance, runs, covered = random.Random(3), 1_000, 0
    for _ in range(runs):
        truth = [100.0 + chance.gauss(0, 1.0) for _ in range(5)]
        half = over_cycles(*(counter(one + chance.gauss(0, edge_sd), 1.96 * edge_sd) for one in truth))
        assert half.half_width is not None
        covered += abs(half.mean - 100.0) <= half.half_width
    assert covered / runs >= 0.945


def test_net_has_the_baseline_as_a_part_of_its_own_and_may_be_negative() -> None:
    net = Net(
        baseline="loaded_idle", baseline_power_w=80.0, baseline_u_w=0.5, baseline_seconds=30.0, energy_adjusted_j=-5.0
    )
    (row,) = summarise(done(Made(cycle=cycle, energy=counter(795.0, net=(net,)))) for cycle in range(3))
    found = row.net["loaded_idle"]
    assert (found.mean, found.baseline, found.baseline_power_w) == (-5.0, 5.0, 80.0)  # 0.5 W × 10 s
    assert found.edges == pytest.approx(3.0 / math.sqrt(3))
    assert found.half_width == pytest.approx(math.hypot(5.0, 3.0 / math.sqrt(3)))
    assert found.known_parts == ("repeats", "edges", "baseline")
    pytest.importorskip("matplotlib", reason="figures are an extra")
    figure = net_energy([row])
    assert figure is not None and net_energy([]) is None and net_energy([row.model_copy(update={"net": {}})]) is None
    for words in ("gross, J", "above loaded idle, J", "-1"):  # the axis goes below zero
        assert f"<!-- {words}" in figure.svg


def test_marks_are_counted_and_second_sources_judged() -> None:
    check = CrossCheck(source="instant_integral", energy_j=90.0, disagreement=0.1, bound=0.03)
    energies = [counter(100.0, flags=("short", "throttled")), counter(100.0, flags=("short",), cross_check=check)]
    (row,) = summarise(done(Made(cycle=cycle, energy=energy)) for cycle, energy in enumerate(energies))
    assert row.flags == {"short": 2, "throttled": 1}
    assert (row.n_cross_checked, row.n_disagreeing) == (1, 1)
    assert row.devices == ["GPU-1"]


def test_what_stands_beside_keeps_its_own_kind() -> None:
    (row,) = summarise(done(Made(cycle=cycle, energy=counter(500.0))) for cycle in range(2))
    (cpu,) = row.beside
    assert (cpu.provenance, cpu.scope, cpu.energy_j.mean) == ("modelled", "cpu_package", 80.0)
    assert {name: one.mean for name, one in row.windows.items()} == {"prefill": 50.0, "decode": 500.0}
    assert {name: one.mean for name, one in row.power_w.items()} == {"prefill": 50.0, "decode": 50.0}


def test_the_parquet_summary_has_the_parts_with_their_units(tmp_path: Path) -> None:
    store = run_folder(tmp_path / "run", [done(Made(cycle=cycle, energy=counter(500.0))) for cycle in range(2)])
    assemble(store, write_summary=True)
    table = pq.read_table(io.BytesIO(store.get("summary.parquet")))
    assert table["energy_j.edges_low"].to_pylist() == [pytest.approx(500 - 3 / math.sqrt(2))]
    assert table["energy_per.output_token.systematic"].to_pylist() == [0.05]
    assert table["beside.modelled.model.cpu_package.mean"].to_pylist() == [80.0]
    units = {field.name: (field.metadata or {}).get(b"unit") for field in table.schema}
    assert units["energy_j.edges_low"] == b"J"
    assert units["energy_j.systematic"] == b"1"
    assert units["windows.prefill.mean"] == b"J"


def test_the_front_holds_who_is_beaten_in_nothing(tmp_path: Path) -> None:
    study = assemble(run_folder(tmp_path / "run", inference_results(3, 2)))
    assert [row.on_front for row in study.summary] == [False, False, True]  # larger batches win in both
    traded = [
        done(Made(index=0, seconds=10.0, energy=counter(100.0))),
        done(Made(index=1, seconds=5.0, energy=counter(200.0))),
        done(Made(index=2, seconds=10.0, energy=counter(150.0))),
        done(Made(index=3, seconds=20.0, energy=modelled(150.0))),
        done(Made(index=4, metrics={"loss": 1.0})),
    ]
    study = assemble(run_folder(tmp_path / "traded", traded))
    assert [row.on_front for row in study.summary] == [True, True, False, True, None]
