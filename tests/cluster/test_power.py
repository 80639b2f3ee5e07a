"""The recorder without sensors: choosing, the model, the CPU clock of another process, the estimators' arithmetic."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from joulegrid.cluster.power.energy import total
from joulegrid.cluster.power.sampler.recorder import Recorder, Target
from joulegrid.cluster.power.sensors.model import CoreWatts, model_energy, process_cpu_s
from joulegrid.cluster.power.sensors.readings import Reading, Ring
from joulegrid.cluster.power.sensors.sources import PowerConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

S = 1_000_000_000
LANE = Target(cpus=(0,))
BURN = "print('on', flush=True)\nwhile True: pass"


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder(PowerConfig(source="model", period_s=0.02))
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.stop()


@pytest.fixture
def burner() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", BURN], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout and process.stdout.readline() == "on\n"
            yield process
        finally:
            process.kill()


def test_the_model_multiplies_cpu_seconds_by_its_three_watts(recorder: Recorder) -> None:
    now_ns = time.monotonic_ns()
    energy, beside = recorder.energy(now_ns - S, now_ns, LANE, cpu_s=2.5)
    assert (energy.low_j, energy.energy_j, energy.high_j) == (4.25, 10.0, 20.0)
    assert (energy.source, energy.provenance, energy.scope) == ("model", "modelled", "cpu_package")
    assert "idle power is not part" in str(energy.interval)
    assert beside == []
    assert recorder.sources == ["model"]


def test_a_sleep_is_modelled_with_no_joules_of_active_cpu(recorder: Recorder) -> None:
    now_ns = time.monotonic_ns()
    energy, _ = recorder.energy(now_ns - S, now_ns, LANE, cpu_s=0.0)
    assert energy.energy_j == 0.0 and energy.provenance == "modelled"


def test_the_model_knows_no_gpu_and_says_so(recorder: Recorder) -> None:
    now_ns = time.monotonic_ns()
    energy, beside = recorder.energy(now_ns - S, now_ns, Target(gpu_uuids=("GPU-1",)), cpu_s=1.0)
    assert energy.energy_j is None and energy.reason == "power: model"
    assert [part.energy_j for part in beside] == [4.0]


def test_an_empty_window_is_unknown(recorder: Recorder) -> None:
    energy, _ = recorder.energy(S, S, LANE, cpu_s=1.0)
    assert energy.energy_j is None and "empty" in str(energy.reason)


def test_no_power_is_null_and_never_zero() -> None:
    recorder = Recorder(PowerConfig(source="none"))
    recorder.start()
    energy, beside = recorder.energy(0, S, Target(gpu_uuids=("GPU-1",)), cpu_s=1.0)
    recorder.stop()
    assert energy.energy_j is None and energy.reason == "power: none"
    assert beside == [] and recorder.sources == []


def test_auto_without_sensors_models_the_cpu_and_says_what_is_missing(tmp_path: Path) -> None:
    recorder = Recorder(PowerConfig(), powercap=tmp_path)
    described = recorder.describe()
    recorder.stop()
    assert recorder.sources[-1] == "model"
    assert "no package domain" in str(described["missing"])


def test_a_modelled_joule_never_joins_a_measured_sum() -> None:
    modelled = model_energy(1.0, CoreWatts())
    measured = modelled.model_copy(update={"source": "rapl", "provenance": "measured"})
    with pytest.raises(ValueError, match="never summed"):
        total([modelled, measured])


def test_the_series_follows_the_cpu_clock_of_another_process(recorder: Recorder, burner: subprocess.Popen[str]) -> None:
    recorder.watch("here/cpu0", burner.pid)
    t0_ns, cpu0_s = time.monotonic_ns(), process_cpu_s(burner.pid)
    time.sleep(1.0)
    t1_ns, cpu1_s = time.monotonic_ns(), process_cpu_s(burner.pid)
    recorder.unwatch("here/cpu0")
    samples = recorder.series(t0_ns - S // 5, t1_ns + S // 5, LANE, "here/cpu0")
    assert cpu0_s is not None and cpu1_s is not None
    steps_s = [(now.t_ns - then.t_ns) / S for then, now in pairwise(samples)]
    modelled_j = sum(sample.power_w * step_s for sample, step_s in zip(samples[1:], steps_s, strict=True))
    assert len(samples) >= 5
    assert modelled_j == pytest.approx(4.0 * (cpu1_s - cpu0_s), rel=0.25)
    assert {(sample.source, sample.provenance) for sample in samples} == {("model", "modelled")}


def test_a_process_that_ends_is_forgotten_quietly(recorder: Recorder, burner: subprocess.Popen[str]) -> None:
    recorder.watch("here/cpu0", burner.pid)
    burner.kill()
    burner.wait()
    time.sleep(0.3)
    assert recorder.describe()["watched"] == {}
    recorder.unwatch("here/cpu0")
    assert process_cpu_s(burner.pid) is None


def test_deadlines_do_not_drift_and_missed_ones_are_counted(recorder: Recorder) -> None:
    time.sleep(0.2)
    missed = recorder.describe()["missed_deadlines"]
    assert isinstance(missed, int) and 0 <= missed <= 10


@pytest.mark.parametrize("values", [{"source": "guess"}, {"period_s": 0}, {"watts": 3}, {"watts_per_core": {"low": 9}}])
def test_a_wrong_power_section_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PowerConfig.model_validate(values)


def test_the_ring_is_bounded_and_keeps_the_newest() -> None:
    ring: Ring[Reading] = Ring(100)
    for t_ns in range(1_000):
        ring.append(Reading(t_ns))
    assert [reading.t_ns for reading in ring.between(0, 10_000)] == list(range(900, 1_000))
    assert [reading.t_ns for reading in ring.between(950, 952)] == [950, 951, 952]
