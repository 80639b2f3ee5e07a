"""Net energy: gross minus idle power times seconds, with its interval, never clamped; and steady states."""

from __future__ import annotations

import random

import pytest

from joulegrid.cluster.power.baseline import Baseline, baselines_of, still_valid, with_net
from joulegrid.cluster.power.energy import Energy, total, unknown
from joulegrid.cluster.power.sensors.model import CoreWatts, model_energy
from joulegrid.cluster.power.sensors.series import Sample
from joulegrid.cluster.power.steady import rates, steadiness

KIND = {"source": "counter", "provenance": "measured", "scope": "gpu_board"}


def board(joules: float, u_j: float = 1.0, device: str = "GPU-a") -> Energy:
    return Energy(energy_j=joules, low_j=joules - u_j, high_j=joules + u_j, device=device, **KIND)


def bare(power_w: float, u_w: float = 2.0, device: str = "GPU-a") -> Baseline:
    about = {"device": device, "scope": "gpu_board", "provenance": "measured"}
    return Baseline(kind="bare_idle", power_w=power_w, u_w=u_w, seconds=30.0, **about)


def test_net_is_gross_minus_idle_power_times_seconds_and_carries_both_intervals() -> None:
    (net,) = with_net(board(1_000.0, u_j=3.0), 10.0, [bare(70.0, u_w=0.4)]).net
    assert net.energy_adjusted_j == pytest.approx(300.0)
    assert net.low_j == pytest.approx(295.0) and net.high_j == pytest.approx(305.0)  # √(3² + 4²)
    assert (net.baseline, net.baseline_power_w, net.baseline_seconds) == ("bare_idle", 70.0, 30.0)


def test_a_baseline_above_the_window_gives_a_negative_net() -> None:
    (net,) = with_net(board(650.0), 10.0, [bare(70.0)]).net
    assert net.energy_adjusted_j == pytest.approx(-50.0)


def test_only_watts_of_the_same_device_scope_and_provenance_are_taken_off() -> None:
    assert with_net(board(1_000.0), 10.0, [bare(70.0, device="GPU-b")]).net == ()
    simulated = bare(70.0).model_copy(update={"provenance": "simulated"})
    assert with_net(board(1_000.0), 10.0, [simulated]).net == ()
    modelled = model_energy(3.0, CoreWatts())
    assert with_net(modelled, 10.0, [bare(70.0)]) is modelled
    lost = unknown("gone")
    assert with_net(lost, 10.0, [bare(70.0)]) is lost


def test_a_sum_has_the_nets_that_all_of_its_devices_have() -> None:
    both = total([board(1_000.0), board(2_000.0, device="GPU-b")])
    loaded = bare(90.0).model_copy(update={"kind": "loaded_idle"})
    whole = with_net(both, 10.0, [bare(70.0), bare(80.0, device="GPU-b"), loaded])
    (net,) = whole.net
    assert net.energy_adjusted_j == pytest.approx(1_500.0) and net.baseline_power_w == 150.0
    assert [len(part.net) for part in whole.parts] == [2, 1]
    assert net.low_j == pytest.approx(sum(part.net[0].low_j or 0 for part in whole.parts))
    assert total(list(whole.parts)).net == whole.net


def test_a_baseline_has_a_power_with_edges_and_spread_or_a_reason() -> None:
    draw = random.Random(0)
    samples = [Sample(t, "GPU-a", 70 + draw.gauss(0, 2), **KIND) for t in range(100)]  # type: ignore[arg-type]
    (known,) = baselines_of("bare_idle", board(700.0), 10.0, samples)
    assert known.power_w == 70.0 and known.u_w is not None and 0.1 < known.u_w < 2.0
    (edges,) = baselines_of("bare_idle", board(700.0), 10.0)
    assert edges.u_w == pytest.approx(0.1)
    (lost,) = baselines_of("bare_idle", unknown("no sensor"), 10.0)
    (modelled,) = baselines_of("loaded_idle", model_energy(1.0, CoreWatts()), 10.0)
    assert lost.reason == "no sensor" and modelled.power_w is None and "modelled" in (modelled.reason or "")
    with pytest.raises(ValueError, match="reason"):
        Baseline(kind="bare_idle")


def test_a_short_look_decides_whether_an_old_baseline_still_holds() -> None:
    assert still_valid(bare(70.0), bare(73.0))
    assert not still_valid(bare(70.0), bare(110.0))
    assert not still_valid(bare(70.0), Baseline(kind="bare_idle", reason="no reading"))


def series(slope: float, noise: float = 0.005, seconds: int = 60) -> list[tuple[float, float]]:
    draw = random.Random(3)
    return [(t / 20, 500 * (1 + slope * t / 20) * draw.gauss(1, noise)) for t in range(20 * seconds)]


def done(seconds: float = 60.0) -> list[tuple[float, float]]:
    return [(0.1 * n, float(n)) for n in range(round(seconds * 10))]


@pytest.mark.parametrize(("slope", "verdict"), [(0.0, "steady"), (0.0002, "steady"), (0.002, "not_steady")])
def test_power_that_drifts_by_more_than_1_percent_in_10_s_is_not_steady(slope: float, verdict: str) -> None:
    found = steadiness(60.0, series(slope), done(), [(float(t), 60.0) for t in range(60)])
    assert (found.verdict, found.power.verdict) == (verdict, verdict)
    assert found.power.per_s == pytest.approx(slope, abs=3e-4)


def test_a_slope_that_noise_hides_is_undecided() -> None:
    found = steadiness(60.0, series(0.001, noise=0.3), done(), None)
    assert (found.power.verdict, found.verdict) == ("unknown", "unknown")
    assert "interval includes the bound" in (found.power.reason or "")


def test_a_gpu_that_warms_by_2_degrees_in_30_s_is_not_steady() -> None:
    warming = [(float(t), 60 + t / 15) for t in range(60)]
    found = steadiness(60.0, series(0.0), done(), warming)
    assert found.temperature and (found.temperature.verdict, found.verdict) == ("not_steady", "not_steady")
    assert found.temperature.per_s == pytest.approx(1 / 15)


def test_throughput_that_falls_is_not_steady() -> None:
    slowing = [(0.1 * n + 2e-5 * n * n, float(n)) for n in range(500)]
    assert steadiness(60.0, series(0.0), slowing, None).throughput.verdict == "not_steady"
    assert [rate for _, rate in rates([(0.0, 0.0), (2.0, 4.0), (2.0, 4.0)])] == [2.0]


def test_short_windows_and_windows_without_readings_are_not_judged() -> None:
    short = steadiness(5.0, series(0.0), done(), None)
    assert short.verdict == "unknown" and "10 s are needed" in (short.power.reason or "")
    empty = steadiness(30.0, [], [], [])
    assert empty.verdict == "unknown" and "0 stretches of power readings" in (empty.power.reason or "")
