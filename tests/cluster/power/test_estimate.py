"""The estimator against drawn boards and loads whose true energy is known: error, coverage, and every fault."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import pytest

from joulegrid.cluster.power.estimate.known import Known
from joulegrid.cluster.power.estimate.looks import brackets_of
from joulegrid.cluster.power.estimate.ticks import ticks_near
from joulegrid.cluster.power.estimate.window import Answer, answer
from joulegrid.cluster.power.sensors.board import Board as Estimator
from joulegrid.cluster.power.sensors.series import UnreadError
from tests.cluster.power.simulated_board import Load, Run, draw_board, draw_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from joulegrid.cluster.power.energy import Energy
    from joulegrid.cluster.power.sensors.readings import Reading


def drawn(seed: object, load: Load, seconds: float, **fixed: object) -> Run:
    draw = random.Random(str(seed))
    return draw_run(draw, draw_board(draw, **fixed), load, seconds)


def answered(run: Run, readings: list[Reading] | None = None, known: Known | None = None) -> Answer:
    return answer(run.readings if readings is None else readings, run.t0_ns, run.t1_ns, known or Known())


def error_of(run: Run, found: Answer) -> float:
    return abs(found.bounds.energy_j / run.truth_j - 1)


def covers(run: Run, found: Answer) -> bool:
    return found.bounds.low_j <= run.truth_j <= found.bounds.high_j


def calibrated(run: Run) -> Known:
    board = run.board
    return Known(board.tick_s, board.tick_s, "lag" if board.tail == "lag" else "decay", not board.partial)


@pytest.mark.parametrize(("seconds", "aim"), [(1.0, 0.015), (2.0, 0.008), (5.0, 0.0035), (10.0, 0.002)])
@pytest.mark.parametrize("load", ["step", "llm"])
def test_a_calibrated_integrating_counter_reaches_the_aim_at_the_95th_percentile(
    load: Load, seconds: float, aim: float
) -> None:
    runs = [drawn((load, seconds, i), load, seconds) for i in range(40)]
    errors = sorted(error_of(run, answered(run, known=calibrated(run))) for run in runs)
    assert errors[37] <= aim


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("tail", ["decay", "lag"])
def test_the_stated_interval_holds_the_truth_without_any_calibration(partial: bool, tail: str) -> None:
    runs = [
        drawn((load, seconds, i), load, seconds, partial=partial, tail=tail)
        for load in get_args(Load)
        for seconds in (0.5, 1.0, 2.0, 5.0)
        for i in range(8)
    ]
    held = sum(covers(run, answered(run)) for run in runs) / len(runs)
    assert held >= 0.87  # 160 draws: two standard deviations below 0.93


def test_the_interval_of_a_calibrated_step_is_narrow() -> None:
    runs = [drawn(("narrow", i), "step", 5.0) for i in range(20)]
    halves = sorted(answered(run, known=calibrated(run)).bounds.half_j / run.truth_j for run in runs)
    assert halves[10] < 0.003


def test_periodic_ticks_confine_each_other_to_a_millisecond() -> None:
    run = drawn("grid", "step", 5.0, tick_s=0.1013, jitter_s=0.0, stamps="absent", walk=False)
    ticks, dating = ticks_near(brackets_of(run.readings, run.t0_ns), 0.0)
    near = [tick for tick in ticks if abs(tick.t_s) < 0.5]
    offs = [(run.t0_ns / 1e9 + tick.t_s - run.board.phase_s) / 0.1013 % 1 for tick in near]
    assert dating == "periodic"
    assert all(min(off, 1 - off) * 0.1013 < 0.0015 for off in offs)


@pytest.mark.parametrize(
    ("stamps", "dating"), [("ticks", "stamps"), ("constant", "periodic"), ("query", "periodic"), ("random", "periodic")]
)
def test_the_drivers_stamps_are_used_only_where_they_move_with_the_value(stamps: str, dating: str) -> None:
    run = drawn("stamps", "step", 5.0, tick_s=0.1013, jitter_s=0.0005, stamps=stamps, walk=False)
    assert ticks_near(brackets_of(run.readings, run.t0_ns), 0.0)[1] == dating


def test_the_tail_of_a_load_counts_for_a_lagging_sensor_and_not_for_a_decay() -> None:
    for tail in ("decay", "lag"):
        run = drawn("tail", "step", 5.0, tail=tail, tau_s=0.15, tick_s=0.1, jitter_s=0.0002, idle_w=70.0, load_w=600.0)
        found = answered(run)
        assert error_of(run, found) < 0.005 and covers(run, found)
        assert found.log_odds > 3 if tail == "lag" else found.log_odds < -3
        assert "tail_undecided" not in found.flags


def test_a_tail_that_cannot_be_told_widens_the_interval_over_both_answers() -> None:
    wide = [answered(drawn(("short", i), "llm", 0.6, tail="lag", tau_s=0.2)) for i in range(8)]
    assert sum("tail_undecided" in found.flags for found in wide) >= 5


def test_what_windows_show_of_a_sensor_is_kept_by_its_board() -> None:
    board = Estimator("GPU-1", "simulated", 0.05)
    for i in range(3):
        run = drawn(("learn", i), "step", 3.0, tail="lag", tau_s=0.15, tick_s=0.1, jitter_s=0.0, idle_w=70.0)
        fresh = Estimator("GPU-1", "simulated", 0.05, board.known)
        fresh._tail_odds = board._tail_odds
        for reading in run.readings:
            fresh.append(reading)
        fresh.energy(run.t0_ns, run.t1_ns)
        board = fresh
    assert board.known.tail == "lag"


# Faults: what a board may do to its readings.


def unreadable(readings: list[Reading], _: Run) -> list[Reading]:
    return [replace(r, counter_j=None, trouble="NVML field 83: Not Supported") for r in readings]


def zero(readings: list[Reading], _: Run) -> list[Reading]:
    return [replace(r, counter_j=0.0) for r in readings]


def scaled(readings: list[Reading], _: Run) -> list[Reading]:
    return [replace(r, counter_j=0.57 * (r.counter_j or 0.0)) for r in readings]


def stalled(readings: list[Reading], run: Run) -> list[Reading]:
    half = (run.t0_ns + run.t1_ns) // 2
    last = next(r.counter_j for r in readings if r.t_ns > half)
    return [replace(r, counter_j=last) if r.t_ns > half else r for r in readings]


def frozen_then_jumps(readings: list[Reading], run: Run) -> list[Reading]:
    start, end = run.t0_ns + 400_000_000, run.t0_ns + 1_400_000_000
    last = next(r.counter_j for r in readings if r.t_ns > start)
    return [replace(r, counter_j=last) if start < r.t_ns < end else r for r in readings]


def reset(readings: list[Reading], run: Run) -> list[Reading]:
    at = run.t0_ns + 700_000_000
    base = next(r.counter_j or 0.0 for r in readings if r.t_ns > at)
    return [replace(r, counter_j=(r.counter_j or 0.0) - base) if r.t_ns > at else r for r in readings]


def spikes(readings: list[Reading], run: Run) -> list[Reading]:
    made = list(readings)
    for i in range(5, len(made), 37):
        high_j = (made[i].counter_j or 0.0) + 1e6
        made[i] = replace(made[i], power_w=12.57e6) if i % 2 else replace(made[i], counter_j=high_j)
    return made


def gap(readings: list[Reading], run: Run) -> list[Reading]:
    return [r for r in readings if not run.t0_ns + 500_000_000 < r.t_ns < run.t0_ns + 1_300_000_000]


@pytest.mark.parametrize(
    ("fault", "source", "flag"),
    [
        (unreadable, "instant_integral", None),
        (zero, "instant_integral", None),
        (scaled, "instant_integral", "counter_distrusted"),
        (stalled, "instant_integral", "counter_stalled"),
        (frozen_then_jumps, "counter", "counter_stalled"),
        (reset, "counter", "counter_reset"),
        (spikes, "counter", None),
        (gap, "counter", "gap"),
    ],
)
def test_every_fault_ends_in_a_labelled_figure_that_holds_the_truth(
    fault: Callable[[list[Reading], Run], list[Reading]], source: str, flag: str | None
) -> None:
    for i in range(5):
        run = drawn((fault.__name__, i), "step", 3.0, tick_s=0.1, stamps="absent", tail="none", jitter_s=0.0002)
        found = answered(run, fault(run.readings, run))
        assert found.source == source
        assert flag is None or flag in found.flags
        assert covers(run, found) and error_of(run, found) < 0.12


def test_a_lying_counter_is_not_believed_though_the_load_is_idle() -> None:
    run = drawn("idle lie", "idle", 5.0, tick_s=0.1, stamps="absent")
    found = answered(run, scaled(run.readings, run))
    assert found.source == "instant_integral" and "counter_distrusted" in found.flags
    assert found.check is not None and found.check.source == "counter" and not found.check.agrees


def test_slow_updates_are_flagged_and_their_interval_holds() -> None:
    runs = [drawn(("slow", i), "step", 5.0, tick_s=0.5, jitter_s=0.001) for i in range(10)]
    found = [answered(run) for run in runs]
    assert all("slow_updates" in one.flags for one in found)
    assert sum(covers(run, one) for run, one in zip(runs, found, strict=True)) >= 9


@pytest.mark.parametrize("load", ["flat", "step", "llm", "idle"])
def test_a_driver_that_only_averages_is_deconvolved(load: Load) -> None:
    for i in range(4):
        run = drawn(("average", load, i), load, 5.0, tail="none", tick_s=0.1)
        found = answered(run, [replace(r, counter_j=None, power_w=None) for r in run.readings])
        assert found.source == "average_deconvolved"
        assert covers(run, found) and error_of(run, found) < 0.06


def energy_of(run: Run, readings: list[Reading]) -> Energy:
    board = Estimator("GPU-1", "simulated", 0.05)
    for reading in readings:
        board.append(reading)
    return board.energy(run.t0_ns, run.t1_ns)


def test_a_lost_gpu_has_no_energy_and_a_reason() -> None:
    run = drawn("lost", "step", 2.0)
    after_ns = run.t0_ns + 1_000_000_000
    readings = [
        r
        if r.t_ns < after_ns
        else replace(r, counter_j=None, power_w=None, average_w=None, trouble="NVML: GPU is lost")
        for r in run.readings
    ]
    energy = energy_of(run, readings)
    assert energy.energy_j is None and "GPU is lost" in str(energy.reason)


def test_the_energy_names_its_interval_the_vendors_accuracy_and_its_flags() -> None:
    run = drawn("whole", "step", 2.0)
    energy = energy_of(run, run.readings)
    assert energy.systematic == 0.05 and "short" in energy.flags
    assert energy.interval is not None and "95 %" in energy.interval and "not included" in energy.interval
    assert energy.cross_check is not None and energy.cross_check.source == "instant_integral"


def test_no_readings_at_all_are_an_error_with_both_reasons() -> None:
    with pytest.raises(UnreadError, match=r"counter: .*; power: "):
        answer([], 0, 1_000_000_000, Known())
