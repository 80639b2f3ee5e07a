"""Joules of a call: what a series with calls costs more than one that only fills in inputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from joulegrid.cluster.power.energy import Energy, unknown
from joulegrid.jobs.kernel_energy import MeterProbe, difference
from joulegrid.kernels.timing.result import EnergyWindow, Timing
from tests.cluster.nvml_simulated.build import simulated_nvml, uuid_of


def window(part: str, series: int, agrees: bool | None = None) -> EnergyWindow:
    return EnergyWindow.model_validate(
        {
            "name": f"candidate {part}", "member": "candidate", "part": part, "series": series, "calls": 50,
            "seconds": 10.0, "calling_s": 4.0, "agrees": agrees,
        }
    )  # fmt: skip


def timed(*windows: EnergyWindow) -> Timing:
    known: dict[str, Any] = {"energy": list(windows)}
    return Timing.model_construct(**known)


def joules(energy_j: float) -> Energy:
    ends = {"low_j": energy_j * 0.9, "high_j": energy_j * 1.1}
    return Energy(energy_j=energy_j, source="model", provenance="modelled", scope="cpu_package", **ends)


def test_filling_in_inputs_is_taken_off_series_by_series() -> None:
    found = difference(window("calls", 10, agrees=True), joules(100.0), window("inputs", 20), joules(40.0))
    assert found.energy_j == pytest.approx((100 / 10 - 40 / 20) / 50)
    assert found.low_j == pytest.approx((90 / 10 - 36 / 20) / 50)  # modelled joules share their watts
    assert found.high_j == pytest.approx((110 / 10 - 44 / 20) / 50)
    assert (found.calls, found.provenance) == (500, "modelled")


def test_an_unknown_or_disagreeing_window_gives_no_number_but_a_reason() -> None:
    calls, inputs = window("calls", 10, agrees=False), window("inputs", 10)
    assert "another time" in str(difference(calls, joules(1.0), inputs, joules(1.0)).reason)
    found = difference(window("calls", 10, agrees=True), unknown("no sensor"), inputs, joules(1.0))
    assert found.energy_j is None and found.reason == "no sensor"


def test_a_processors_joules_are_not_those_of_a_kernel_on_a_gpu() -> None:
    probe = MeterProbe("cuda", "model")
    for part in ("calls", "inputs"):
        with probe.window(f"candidate {part}"):
            sum(range(1000))
    told = probe.call_energy(timed(window("calls", 1, agrees=True), window("inputs", 1)))
    assert told.energy_j is None and "reads none here, but cpu_package" in str(told.reason)


def test_what_was_not_timed_has_a_reason() -> None:
    assert "interpreted" in str(MeterProbe("cpu").call_energy(None).reason)
    assert "filling in" in str(MeterProbe("cpu").call_energy(timed()).reason)


def test_gpus_that_are_visible_are_not_charged_with_a_kernel_on_the_processor(tmp_path: Path) -> None:
    code = (
        "from joulegrid.jobs.kernel_energy import MeterProbe\n"
        "for device in ('cpu', 'cuda'):\n"
        "    probe = MeterProbe(device)\n"
        "    with probe.window('candidate calls', min_seconds=0.3) as window:\n"
        "        for _ in window: sum(range(10_000))\n"
        "    energy = probe.blocks['candidate calls'].energy\n"
        "    print(energy.scope, energy.device, energy.reason)\n"
    )
    env = {**os.environ, **simulated_nvml(tmp_path, gpus=2)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    on_cpu, on_gpu = done.stdout.splitlines()
    assert on_cpu.startswith("cpu_package") and on_gpu.split()[:2] == ["gpu_board", uuid_of(0)]


def test_a_metered_window_repeats_its_body_and_is_read_afterwards() -> None:
    probe, count = MeterProbe("cpu"), 0
    with probe.window("candidate calls", min_seconds=0.05) as opened:
        for _ in opened:
            count += sum(range(1000)) > 0
    assert count > 1
    assert probe.blocks["candidate calls"].seconds >= 0.05
