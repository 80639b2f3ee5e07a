"""The arithmetic of the energy benchmarks, and their checks of a GPU on a simulated board."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from benchmarks.energy import attribution
from benchmarks.energy.boards import MODES, draw
from benchmarks.energy.faults import _verdict
from benchmarks.energy.gpu_checks import line
from benchmarks.energy.jitter import PERIOD_NS, figures
from benchmarks.energy.readers import trapezoid
from benchmarks.energy.score import Answer, quantile, row
from benchmarks.measurement import kept, noted, write

ROOT = Path(__file__).parents[1]
S = 1_000_000_000


def answer(truth_j: float, energy_j: float | None, half_j: float | None = None) -> Answer:
    low_j, high_j = (energy_j - half_j, energy_j + half_j) if energy_j is not None and half_j else (None, None)
    return Answer("ours", 0, "mode", "step", 1.0, truth_j, energy_j, low_j, high_j, "counter", ("short",))


def test_errors_coverage_and_width_are_in_percent_of_the_truth_and_nulls_are_counted() -> None:
    found = row([answer(100.0, 101.0, 2.0), answer(100.0, 97.0, 2.0), answer(100.0, None)])
    assert found["n"] == 3 and found["unknown"] == 1
    assert found["bias_pct"] == pytest.approx(-1.0) and found["median_abs_pct"] == pytest.approx(2.0)
    assert found["p95_abs_pct"] == pytest.approx(2.9)
    assert found["coverage"] == 0.5 and found["width_pct_median"] == pytest.approx(4.0)
    assert found["flags"] == {"short": 3}
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0


def test_jitter_drift_and_gaps_are_told_apart() -> None:
    late_ns = [0, 1_000_000, -1_000_000, 0] * 50
    steady = figures([k * PERIOD_NS + late for k, late in enumerate(late_ns)], 10.0)
    assert [aim["met"] for aim in steady["aims"]] == [True, True, True]
    assert steady["jitter_ms"]["0.99"] == pytest.approx(1.0)
    drifting = figures([round(k * PERIOD_NS * 1.002) for k in range(100)], 5.0)
    assert drifting["aims"][1]["value"] == pytest.approx(0.2) and not drifting["aims"][1]["met"]
    broken = figures([k * PERIOD_NS for k in range(200) if not 100 <= k < 103], 10.0)
    assert broken["aims"][2]["value"] == 1


def test_a_trapezoid_interpolates_at_the_edges_of_the_window() -> None:
    assert trapezoid([0, S, 2 * S], [0.0, 100.0, 200.0], S // 2, 3 * S // 2) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("said", "flagged", "verdict"),
    [
        (None, False, "null"),
        ((0.0, 0.0, 5.0), False, "silent zero"),
        ((0.0, 0.0, 5.0), True, "flagged zero"),
        ((90.0, 80.0, 110.0), False, "covered"),
        ((97.0, 96.0, 98.0), False, "near miss"),
        ((50.0, 45.0, 55.0), False, "believed lie"),
        ((50.0, 45.0, 55.0), True, "flagged miss"),
    ],
)
def test_what_is_said_of_a_broken_board_is_judged(
    said: tuple[float, float, float] | None, flagged: bool, verdict: str
) -> None:
    energy_j, low_j, high_j = said or (None, None, None)
    assert _verdict(100.0, energy_j, low_j, high_j, flagged) == verdict


def test_a_part_that_is_not_run_keeps_its_figures_commit_and_load(tmp_path: Path) -> None:
    assert kept("engine", tmp_path) == {}
    old = {part: noted(lambda: {"series": [1.0]}) for part in ("plan", "ledger")}
    write("engine", [], {"parts": kept("engine", tmp_path) | old}, tmp_path)
    new = {"plan": noted(lambda: {"series": [2.0]})}
    write("engine", [], {"parts": kept("engine", tmp_path) | new}, tmp_path)
    found = kept("engine", tmp_path)
    assert found["ledger"] == old["ledger"] and found["plan"]["series"] == [2.0]
    assert {"at", "commit", "dirty", "cpu", "load_average", "seconds"} < found["plan"].keys()


def test_known_coefficients_are_counted_where_they_lie_inside_their_intervals() -> None:
    found = attribution.row(attribution.Conditions("quiet", 0.005, has_baseline=False), seed=1, runs=3)
    assert (found["n"], found["unknown"]) == (3, 0) and found["n_requests"] > 30
    assert set(found["inside_by_unit"]) == {"prefill_token", "decode_token", "kv_token"}
    noisy = attribution.row(attribution.Conditions("all noise", 3.0, has_baseline=False), seed=1, runs=2)
    assert (noisy["n"], noisy["unknown"], noisy["inside"]) == (0, 2, None)


def test_boards_differ_between_rounds_and_are_the_same_for_a_seed() -> None:
    assert draw(Random(1)) == draw(Random(1)) != draw(Random(2))
    assert tuple(board.mode for board in draw(Random(1))) == MODES


def test_a_line_through_the_energies_has_its_intercept_with_an_interval() -> None:
    points = [(n, 5.0 + 30.0 * n + (-1) ** n * 0.1) for n in (1, 2, 4, 8, 16, 32, 64)]
    intercept_j, half_j, slope_j, r2 = line(points)
    assert intercept_j == pytest.approx(5.0, abs=0.2) and 0 < half_j < 0.3
    assert slope_j == pytest.approx(30.0, abs=0.01) and r2 > 0.9999


def test_the_checks_of_a_gpu_run_on_a_simulated_board_and_say_that_it_is_simulated(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.energy_gpu", "--device", "simulated", "--scale", "0.02"]
    command += ["--results", str(tmp_path), "--check", "repeats", "--check", "trace"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "simulated-energy.json").read_text())
    assert found["provenance"] == "simulated" and found["gpu"] == "simulated"
    assert len(found["checks"]["repeats"]["joules"]) == 5
    assert all(joules > 60.0 for joules in found["checks"]["repeats"]["joules"])
    assert found["checks"]["trace"]["seconds_and_watts"]
