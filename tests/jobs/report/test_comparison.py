"""Experiments against a baseline: paired blocks, Holm's correction over the family, what may be set against what."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.cluster.power.energy import Energy
from joulegrid.errors import UsageError
from joulegrid.jobs.report.comparison import Comparison, Comparisons, holm, holm_levels, judged, log_ratio
from joulegrid.jobs.report.comparison_table import _ends
from joulegrid.jobs.report.observations import Observations
from joulegrid.student import student_t, two_sided_p
from tests.jobs.report.results import Made, done, measured, modelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joulegrid.actors.result import ExperimentResult

ONE = Comparison(index=1, key="k", label="one", metric="seconds")


def on_gpu(result: ExperimentResult, uuid: str) -> ExperimentResult:
    return result.model_copy(update={"lane": result.lane.model_copy(update={"gpu_uuids": [uuid]})})


def made(
    index: int, cycle: int, joules: float, seconds: float = 10.0, energy: Energy | None = None
) -> ExperimentResult:
    axes = {"pytorch.batch_size": index}
    return done(Made(index=index, cycle=cycle, axes=axes, energy=energy or measured(joules)))


def compared(results: Sequence[ExperimentResult], baseline: str = "batch_size=0") -> Comparisons:
    seen = Observations()
    for result in results:
        seen.add(result, 0)
    return seen.compared(baseline, {})


def of(found: Comparisons, metric: str, index: int = 1) -> Comparison:
    return next(one for one in found.comparisons if one.metric == metric and one.index == index)


def test_holm_gives_the_hand_calculated_values() -> None:
    # 4 tests: 0.01·4, 0.04·2 → raised to 0.09 by the one before, 0.03·3 = 0.09, 0.20·1
    assert holm([0.01, 0.04, 0.03, 0.20]) == pytest.approx([0.04, 0.09, 0.09, 0.20])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm_levels([0.001, 0.04, 0.03, 0.20]) == pytest.approx([0.0125, 0.05 / 3, 0.05 / 3, 0.05 / 3])


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30))
def test_what_holm_rejects_is_the_same_by_value_and_by_level(p_values: list[float]) -> None:
    adjusted, levels = holm(p_values), holm_levels(p_values)
    assert all(0 <= raw <= corrected <= 1 for raw, corrected in zip(p_values, adjusted, strict=True))
    for p, corrected, level in zip(p_values, adjusted, levels, strict=True):
        if abs(p - level) > 1e-9:
            assert (p < level) == (corrected < 0.05)


def test_p_values_agree_with_the_table_of_student_t() -> None:
    assert two_sided_p(12.7062, 1) == pytest.approx(0.05, abs=1e-5)
    assert two_sided_p(2.77645, 4) == pytest.approx(0.05, abs=1e-5)
    assert two_sided_p(-4.60409, 4) == pytest.approx(0.01, abs=1e-5)
    assert two_sided_p(0.0, 3) == 1.0
    assert two_sided_p(math.inf, 3) == pytest.approx(0.0)


def test_the_ratio_is_paired_by_device_and_cycle_and_calculated_by_hand() -> None:
    # Two cycles; ratios 0.5 and 0.6: mean logarithm, t with one degree of freedom.
    results = [made(0, 0, 100.0), made(1, 0, 50.0), made(0, 1, 200.0), made(1, 1, 120.0), made(1, 2, 9999.0)]
    found = of(compared(results), "energy_per.output_token")
    logs = [math.log(0.5), math.log(0.6)]
    half = student_t(1) * abs(logs[1] - logs[0]) / 2
    assert found.ratio == pytest.approx(math.exp(sum(logs) / 2))
    assert found.low == pytest.approx(math.exp(sum(logs) / 2 - half))
    assert found.high == pytest.approx(math.exp(sum(logs) / 2 + half))
    assert (found.n_blocks, found.n_devices) == (2, 1)


def test_a_device_that_reads_differently_cancels_in_its_blocks() -> None:
    gains = {"GPU-1": 1.0, "GPU-2": 0.95, "GPU-3": 1.07}
    results = [
        on_gpu(made(index, cycle, gain * joules * (1 + 0.001 * ((cycle + index) % 3))), uuid)
        for cycle, (uuid, gain) in enumerate(gains.items())
        for index, joules in ((0, 100.0), (1, 98.0))
    ]
    found = compared(results)
    one = of(found, "energy_per.output_token")
    assert not found.these_devices_only
    assert (one.n_devices, one.verdict) == (3, "lower")
    assert one.ratio == pytest.approx(0.98, rel=0.002)


def test_fewer_than_three_devices_speak_for_themselves_alone() -> None:
    results = [on_gpu(made(index, cycle, 100.0), f"GPU-{cycle % 2}") for cycle in range(4) for index in (0, 1)]
    assert compared(results).these_devices_only


def test_from_three_devices_on_a_device_counts_once() -> None:
    blocks = {"a": [0.1, 0.1, 0.1], "b": [0.2, 0.2], "c": [0.3]}
    found = log_ratio(blocks)
    assert found is not None
    assert found.mean == pytest.approx(0.2)
    assert (found.freedom, found.n_blocks, found.n_devices) == (2, 6, 3)
    few = log_ratio({"a": [0.1, 0.3], "b": [0.2]})
    assert few is not None
    assert few.freedom == 2
    assert few.error == pytest.approx(0.1 / math.sqrt(3))


def test_measured_modelled_and_simulated_are_never_set_against_each_other() -> None:
    simulated = Energy(energy_j=50.0, source="counter", provenance="simulated", scope="gpu_board")
    results = [made(0, cycle, 100.0) for cycle in range(3)]
    results += [on_gpu(made(1, cycle, 0.0, energy=modelled(50.0)), "GPU-1") for cycle in range(3)]
    results += [made(2, cycle, 0.0, energy=simulated) for cycle in range(3)]
    found = compared(results)
    for index in (1, 2):
        one = of(found, "energy_per.output_token", index)
        assert (one.ratio, one.p, one.verdict) == (None, None, None)
        assert one.reason == "the baseline's was obtained otherwise, or in another environment"
    assert found.family_size == 4  # throughput and latency of both


def test_unlike_environments_are_never_set_against_each_other() -> None:
    seen = Observations()
    for cycle in range(3):
        seen.add(made(0, cycle, 100.0), 0)
        seen.add(made(1, cycle, 100.0), 1)
    assert all(one.ratio is None for one in seen.compared("batch_size=0", {0: "A", 1: "B"}).comparisons)


def test_edges_that_every_cycle_shares_widen_the_interval_and_the_test() -> None:
    logs = {"a": [-0.02, -0.021, -0.019]}
    sharp, wide = log_ratio(logs), log_ratio(logs, common=0.05)
    assert sharp is not None
    assert wide is not None
    assert sharp.p is not None
    assert sharp.p < 0.001
    assert wide.p == 1.0
    low, high = wide.interval() or (2.0, 0.0)
    assert low < 1 < high


@pytest.mark.parametrize(("logs", "p"), [([0.1, 0.1, 0.1], 0.0), ([0.0, 0.0], 1.0)])
def test_numbers_without_any_spread_differ_or_are_equal(logs: list[float], p: float) -> None:
    found = log_ratio({"a": logs})
    assert found is not None
    assert found.p == p


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=5), min_size=1, max_size=8))
def test_the_adjusted_interval_includes_one_exactly_where_nothing_can_be_told(logs: list[list[float]]) -> None:
    for one in judged([(ONE, log_ratio({"a": values})) for values in logs]):
        if one.verdict is None:
            assert one.adjusted_low is None
            assert one.reason
        elif one.low != one.high:
            assert one.adjusted_low is not None
            assert one.adjusted_high is not None
            within = one.adjusted_low <= 1 <= one.adjusted_high
            assert within == (one.verdict == "cannot_tell_apart")
            assert one.low is not None
            assert one.adjusted_low <= one.low + 1e-12


def test_a_report_over_equal_experiments_has_a_false_difference_in_one_of_twenty_at_most() -> None:
    """A/A: five experiments of equal mean, five cycles with a common drift, three metrics: 12 tests a report."""
    chance, reports, false = random.Random(20), 2_000, 0
    for _ in range(reports):
        drift = [chance.gauss(0, 0.05) for _ in range(5)]
        family = []
        for _metric in range(3):
            base = [chance.gauss(drift[cycle], 0.01) for cycle in range(5)]
            for _experiment in range(4):
                logs = [chance.gauss(drift[cycle], 0.01) - base[cycle] for cycle in range(5)]
                family.append((ONE, log_ratio({"a": logs})))
        false += any(one.verdict != "cannot_tell_apart" for one in judged(family))
    assert 0.01 < false / reports <= 0.05


@pytest.mark.parametrize("n_devices", [1, 2, 4])
def test_the_interval_covers_the_true_ratio_in_95_of_100_runs(n_devices: int) -> None:
    chance, runs, covered = random.Random(7), 2_000, 0
    for _ in range(runs):
        blocks = {
            str(device): [math.log(0.9) + chance.gauss(0, 0.01) - chance.gauss(0, 0.01) for _ in range(3)]
            for device in range(n_devices)
        }
        found = log_ratio(blocks)
        assert found is not None
        low, high = found.interval() or (2.0, 0.0)
        covered += low <= 0.9 <= high
    assert 0.935 <= covered / runs <= 0.965


def test_two_wild_blocks_in_a_large_family_have_a_finite_interval() -> None:
    family = [(ONE, log_ratio({"a": [-5.0, 5.0 + n]})) for n in range(200)]
    for one in judged(family):
        assert one.adjusted_low is not None
        assert one.adjusted_high is not None
        assert 0 < one.adjusted_low < 1 < one.adjusted_high < math.inf


def test_a_wrong_baseline_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UsageError, match=r"no experiment .* named 'batch_size=7'.*'batch_size=0'"):
        compared([made(0, 0, 1.0), made(1, 0, 1.0)], "batch_size=7")
    twins = [made(0, 0, 1.0), made(1, 0, 1.0).model_copy(update={"label": "batch_size=0"})]
    with pytest.raises(UsageError, match="give the key of one"):
        compared(twins)
    assert compared(twins, twins[0].key).baseline_key == twins[0].key


def test_where_only_time_is_known_a_repetition_is_compared_and_not_the_length_of_the_window() -> None:
    seen = Observations()
    for index, repeats in ((0, 100), (1, 10)):
        for cycle in range(3):
            result = done(Made(index=index, cycle=cycle, energy=modelled(1.0)))
            windows = [one.model_copy(update={"repeats": repeats}) for one in result.windows or []]
            seen.add(result.model_copy(update={"windows": windows, "metrics": {}}), 0)
    first = next(iter(seen.by_key))
    ratios = {one.metric: one.ratio for one in seen.compared(first, {}).comparisons}
    assert ratios["seconds"] == pytest.approx(10.0)


def test_the_end_of_an_interval_is_hidden_only_far_from_its_ratio() -> None:
    assert _ends(107.0, 94.1, 121.0) == "[94.1–121]"
    assert _ends(1.0, 1e-9, 1e9) == "[<0.01–>100]"
