"""Zeus and CodeCarbon as sources: the real packages over the simulated NVML library."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from joulegrid.cluster.power.sensors.codecarbon import open_codecarbon
from joulegrid.cluster.power.sensors.edges import EdgeBoard, Tool
from joulegrid.cluster.power.sensors.readings import Reading
from joulegrid.cluster.power.sensors.zeus import open_zeus
from joulegrid.errors import PreFlightError
from tests.cluster.nvml_simulated.build import COUNTER_UNSUPPORTED, POWER_UNSUPPORTED, Control, simulated_nvml, uuid_of
from tests.cluster.nvml_simulated.record import Recording

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000
TICK_J = 400.0 * 0.1
TOOLS: tuple[Tool, ...] = ("zeus", "codecarbon")
OPEN = {"zeus": open_zeus, "codecarbon": open_codecarbon}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_that_was_chosen_gives_its_own_joules_under_its_own_name(tmp_path: Path, tool: Tool) -> None:
    pytest.importorskip(tool)
    env = simulated_nvml(tmp_path, gpus=2) | {"CUDA_VISIBLE_DEVICES": ""}
    with Control(env) as control, Recording(env, source=tool) as recording:
        assert recording.described["sources"] == [tool]
        assert [device["device"] for device in recording.described["devices"]] == [uuid_of(0), uuid_of(1)]
        t0_ns = time.monotonic_ns() + 400_000_000
        t1_ns = t0_ns + 2 * S
        control.step(0, t0_ns, 400.0)
        control.step(0, t1_ns, 70.0)
        time.sleep((t1_ns - time.monotonic_ns()) / S)
        one, beside = recording.energy(t0_ns, t1_ns, [uuid_of(0)])
        both, _ = recording.energy(t0_ns, t1_ns, [uuid_of(0), uuid_of(1)])
        strange, _ = recording.energy(t0_ns, t1_ns, ["GPU-elsewhere"])
        truth_j = control.energy_j(0, t0_ns, t1_ns)
    assert one.source == tool and one.provenance == "measured" and one.scope == "gpu_board"
    assert one.energy_j == pytest.approx(truth_j, abs=2 * TICK_J)
    assert one.low_j is None and one.high_j is None and one.interval is not None and "states none" in one.interval
    assert both.energy_j == pytest.approx(truth_j + 140.0, abs=2 * TICK_J + 14.0) and both.source == tool
    assert beside[0].energy_j is None and beside[0].reason == f"power: {tool} does not read CPUs"
    assert strange.energy_j is None and uuid_of(0) in str(strange.reason)


def test_where_codecarbon_reads_zero_the_energy_is_null(tmp_path: Path) -> None:
    pytest.importorskip("codecarbon")
    env = simulated_nvml(tmp_path, gpus=1)
    with Control(env) as control:
        control.gpu(0).faults = COUNTER_UNSUPPORTED | POWER_UNSUPPORTED
    with Recording(env, source="codecarbon") as recording:
        t0_ns = time.monotonic_ns()
        time.sleep(0.4)
        energy, _ = recording.energy(t0_ns, time.monotonic_ns(), [uuid_of(0)])
    assert energy.energy_j is None and "CodeCarbon: it reads 0 J" in str(energy.reason)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_that_is_missing_is_refused_with_the_remedy_and_never_replaced(
    monkeypatch: pytest.MonkeyPatch, tool: Tool
) -> None:
    monkeypatch.setitem(sys.modules, tool, None)  # what Python itself keeps of a module that cannot be imported
    for name in [name for name in sys.modules if name.startswith(f"{tool}.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(PreFlightError, match=f"power source {tool}: .*pip install .*source auto"):
        OPEN[tool]()


@pytest.mark.parametrize(
    ("counted", "why"),
    [
        ([], "no reading"),
        ([1000.0, 1000.0], "it reads 0 J"),
        ([1000.0, 900.0], "it reads -100 J"),
        ([1000.0, None], "ZeusGPULostError: gone"),
    ],
)
def test_what_a_tool_cannot_know_is_null_with_its_reason(counted: list[float | None], why: str) -> None:
    board = EdgeBoard("GPU-1", "one", "zeus", 0.05)
    for second, counter_j in enumerate(counted):
        board.append(Reading(second * S, counter_j, trouble=None if counter_j else "ZeusGPULostError: gone"))
    energy = board.energy(S // 10, S + S // 10)
    assert energy.energy_j is None and energy.source is None
    assert str(energy.reason).startswith("Zeus: ") and why in str(energy.reason)
