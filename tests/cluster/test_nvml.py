"""GPU power through the real pynvml over a simulated NVML library with a known true energy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.cluster.nvml_simulated.build import (
    COUNTER_UNSUPPORTED,
    COUNTER_ZERO,
    POWER_UNSUPPORTED,
    Control,
    simulated_nvml,
    uuid_of,
)
from tests.cluster.nvml_simulated.record import Recording

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from joulegrid.cluster.power.energy import Energy

S = 1_000_000_000
SOON_NS = 400_000_000  # ahead of now: the idle power before a window is seen by the counter first


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return simulated_nvml(tmp_path, gpus=2)


@pytest.fixture
def control(env: dict[str, str]) -> Control:
    return Control(env)


def step_load(control: Control, index: int, seconds: float, power_w: float = 400.0) -> tuple[int, int]:
    """Plan a load of one GPU in the near future, idle on both sides, and wait until it is over."""
    t0_ns = time.monotonic_ns() + SOON_NS
    t1_ns = t0_ns + round(seconds * S)
    control.step(index, t0_ns, power_w)
    control.step(index, t1_ns, 70.0)
    time.sleep((t1_ns - time.monotonic_ns()) / S)
    return t0_ns, t1_ns


def test_the_counter_gives_a_step_load_within_a_few_percent_and_the_truth_is_in_the_interval(
    env: dict[str, str], control: Control
) -> None:
    with Recording(env) as recording:
        t0_ns, t1_ns = step_load(control, 0, 2.0)
        asked_ns = time.monotonic_ns()
        energy, beside = recording.energy(t0_ns, t1_ns, [uuid_of(0)], cpu_s=1.5)
        waited_s = (time.monotonic_ns() - asked_ns) / S
    truth_j = control.energy_j(0, t0_ns, t1_ns)
    assert truth_j == pytest.approx(800.0)
    assert energy.source == "counter" and energy.provenance == "measured" and energy.scope == "gpu_board"
    assert energy.device == uuid_of(0)
    assert energy.energy_j == pytest.approx(truth_j, rel=0.05)
    assert energy.low_j is not None and energy.high_j is not None
    assert energy.low_j <= truth_j <= energy.high_j
    assert energy.high_j - energy.low_j < 0.25 * truth_j
    assert waited_s < 0.6
    assert beside[0].scope == "cpu_package" and beside[0].source in ("model", "rapl")


def test_two_gpus_are_read_by_uuid_though_cuda_sees_none(env: dict[str, str], control: Control) -> None:
    env["CUDA_VISIBLE_DEVICES"] = ""
    with Recording(env, source="nvml") as recording:
        assert [device["device"] for device in recording.described["devices"]] == [uuid_of(0), uuid_of(1)]
        assert recording.described["sources"] == ["counter", "instant_integral"]
        control.step(0, time.monotonic_ns(), 200.0)
        control.step(1, time.monotonic_ns(), 600.0)
        time.sleep(0.3)
        t0_ns = time.monotonic_ns()
        time.sleep(1.0)
        t1_ns = time.monotonic_ns()
        second, beside = recording.energy(t0_ns, t1_ns, [uuid_of(1)])
        both, _ = recording.energy(t0_ns, t1_ns, [uuid_of(0), uuid_of(1)])
    seconds = (t1_ns - t0_ns) / S
    assert second.energy_j == pytest.approx(600.0 * seconds, rel=0.05)
    assert both.energy_j == pytest.approx(800.0 * seconds, rel=0.05)
    assert both.device is None and both.source == "counter"
    assert beside[0].energy_j is None and beside[0].reason == "power: nvml does not read CPUs"


def stalled_counter(control: Control) -> None:
    control.gpu(0).stall_ns = time.monotonic_ns() + SOON_NS + 200_000_000


def counter_reset(control: Control) -> None:
    control.gpu(0).reset_ns = time.monotonic_ns() + SOON_NS + 500_000_000


def assert_integrated(energy: Energy, truth_j: float, why: str) -> None:
    assert energy.source == "instant_integral" and energy.provenance == "measured"
    assert energy.interval is not None and why in energy.interval
    assert energy.energy_j == pytest.approx(truth_j, rel=0.12)
    assert energy.low_j is not None and energy.high_j is not None
    assert energy.low_j <= truth_j <= energy.high_j


@pytest.mark.parametrize(
    ("fault", "why"), [(COUNTER_UNSUPPORTED, "counter is not readable"), (COUNTER_ZERO, "counter stays at zero")]
)
def test_a_board_without_a_working_counter_is_integrated_and_says_why(
    env: dict[str, str], control: Control, fault: int, why: str
) -> None:
    control.gpu(0).faults = fault
    control.gpu(1).faults = fault
    with Recording(env) as recording:
        assert "counter" not in recording.described["sources"]
        t0_ns, t1_ns = step_load(control, 0, 1.0)
        energy, _ = recording.energy(t0_ns, t1_ns, [uuid_of(0)])
    assert_integrated(energy, control.energy_j(0, t0_ns, t1_ns), why)


@pytest.mark.parametrize(("fault", "why"), [(stalled_counter, "did not advance after the window")])
def test_a_counter_that_fails_inside_the_window_is_replaced_by_the_integral_and_says_why(
    env: dict[str, str], control: Control, fault: Callable[[Control], None], why: str
) -> None:
    with Recording(env) as recording:
        fault(control)
        t0_ns, t1_ns = step_load(control, 0, 1.0)
        energy, _ = recording.energy(t0_ns, t1_ns, [uuid_of(0)])
    assert_integrated(energy, control.energy_j(0, t0_ns, t1_ns), why)


def test_a_counter_that_is_reset_inside_the_window_is_patched_with_instant_power_and_flagged(
    env: dict[str, str], control: Control
) -> None:
    with Recording(env) as recording:
        counter_reset(control)
        t0_ns, t1_ns = step_load(control, 0, 1.0)
        energy, _ = recording.energy(t0_ns, t1_ns, [uuid_of(0)])
    assert energy.source == "counter" and "counter_reset" in energy.flags
    assert energy.energy_j is not None and energy.low_j is not None and energy.high_j is not None
    assert energy.low_j <= control.energy_j(0, t0_ns, t1_ns) <= energy.high_j
    assert energy.energy_j == pytest.approx(control.energy_j(0, t0_ns, t1_ns), rel=0.12)


def test_without_counter_and_power_the_energy_is_null_and_both_reasons_are_named(
    env: dict[str, str], control: Control
) -> None:
    control.gpu(0).faults = COUNTER_ZERO | POWER_UNSUPPORTED
    with Recording(env) as recording:
        t0_ns = time.monotonic_ns()
        time.sleep(0.4)
        energy, _ = recording.energy(t0_ns, time.monotonic_ns(), [uuid_of(0)])
        whole, _ = recording.energy(t0_ns, time.monotonic_ns(), [uuid_of(1), uuid_of(0)])
    assert energy.energy_j is None and energy.low_j is None and energy.source is None
    assert energy.reason is not None
    assert "stays at zero" in energy.reason and "no power reading" in energy.reason and "Not Supported" in energy.reason
    assert whole.energy_j is None and "1 of 2 devices unknown" in str(whole.reason)


def test_a_gpu_that_is_lost_inside_the_window_has_no_energy_and_its_neighbour_still_has(
    env: dict[str, str], control: Control
) -> None:
    with Recording(env) as recording:
        t0_ns = time.monotonic_ns()
        control.gpu(0).lost_ns = t0_ns + 300_000_000
        time.sleep(0.8)
        t1_ns = time.monotonic_ns()
        lost, _ = recording.energy(t0_ns, t1_ns, [uuid_of(0)])
        neighbour, _ = recording.energy(t0_ns, t1_ns, [uuid_of(1)])
    assert lost.energy_j is None and "GPU is lost" in str(lost.reason)
    assert neighbour.energy_j == pytest.approx(70.0 * (t1_ns - t0_ns) / S, rel=0.05)


def test_boards_of_different_kinds_are_summed_only_after_all_are_integrated(
    env: dict[str, str], control: Control
) -> None:
    control.gpu(1).faults = COUNTER_UNSUPPORTED
    with Recording(env) as recording:
        time.sleep(0.3)
        t0_ns = time.monotonic_ns()
        time.sleep(0.8)
        t1_ns = time.monotonic_ns()
        energy, _ = recording.energy(t0_ns, t1_ns, [uuid_of(0), uuid_of(1)])
    assert energy.source == "instant_integral"
    assert energy.energy_j == pytest.approx(140.0 * (t1_ns - t0_ns) / S, rel=0.05)


def test_an_unknown_uuid_has_no_energy_and_the_reason_names_the_known_ones(env: dict[str, str]) -> None:
    with Recording(env) as recording:
        now_ns = time.monotonic_ns()
        energy, _ = recording.energy(now_ns - S, now_ns, ["GPU-nowhere"])
    assert energy.energy_j is None
    assert "GPU-nowhere" in str(energy.reason) and uuid_of(0) in str(energy.reason)


def test_the_series_shows_the_step_with_its_source(env: dict[str, str], control: Control) -> None:
    with Recording(env, source="nvml") as recording:
        t0_ns, t1_ns = step_load(control, 0, 1.0)
        series = recording.series(t0_ns - 200_000_000, t1_ns, [uuid_of(0)])
        described = recording.describe()
    assert {(sample["device"], sample["source"], sample["provenance"]) for sample in series} == {
        (uuid_of(0), "instant_integral", "measured")
    }
    assert series[0]["power_w"] == pytest.approx(70.0)
    assert series[-1]["power_w"] == pytest.approx(400.0)
    assert len(series) + described["missed_deadlines"] >= 20


def test_nvml_without_its_library_is_refused_with_the_remedy(tmp_path: Path) -> None:
    # An empty file in front of any real library: what a broken driver looks like, on every machine alike.
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    with Recording({**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}, source="nvml") as recording:
        assert (
            "libnvidia-ml" in recording.described["refused"] or "NVML does not start" in recording.described["refused"]
        )
        assert "nvidia-smi" in recording.described["refused"]


def test_importing_the_power_package_loads_no_gpu_library() -> None:
    code = (
        "import sys, joulegrid.cluster.power.sampler.recorder; assert not {'pynvml', 'torch', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
