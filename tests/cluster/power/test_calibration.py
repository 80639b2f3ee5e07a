"""Calibration: what readings give, the verdict on a tail, what is kept, and the command on a simulated board."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.energy.boards import Drawn
from benchmarks.energy.calibrated import calibrated_virtually
from benchmarks.energy.virtual import Node
from joulegrid.actors.calibrate import COMMAND
from joulegrid.cluster.power.bursts import Burst, Shown, shown
from joulegrid.cluster.power.calibrating import calibrate
from joulegrid.cluster.power.calibration import Calibration, cache_file, from_readings, remember, remembered
from joulegrid.cluster.power.estimate.known import NOTHING
from joulegrid.cluster.power.sampler.frames import Hello
from joulegrid.cluster.power.sensors.nvml import BoardFacts
from joulegrid.cluster.power.sensors.readings import Reading
from joulegrid.cluster.power.sensors.sources import PowerConfig, sources_from
from tests.cluster.nvml_simulated.build import COUNTER_SENSED_ONLY, Board, simulated_nvml, uuid_of
from tests.cluster.nvml_simulated.layout import STAMP_ZERO
from tests.cluster.power.simulated_board import Curve, draw_board, draw_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_fast_readings_give_the_period_of_the_counter_and_whether_stamps_are_usable() -> None:
    draw = random.Random("busy")
    board = draw_board(draw, tick_s=0.087, jitter_s=0.0005, stamps="ticks", walk=False)
    run = draw_run(draw, board, "llm", 5.0)
    found = from_readings("GPU-1", run.readings)
    assert found.counter_period_s == pytest.approx(0.087, rel=0.005)
    assert found.stamps_usable and found.average_s == 1.0
    assert not from_readings("GPU-1", [replace(r, counter_stamp_ns=5) for r in run.readings]).stamps_usable


def test_a_steady_board_says_nothing_about_its_average() -> None:
    readings = [Reading(i * 5_000_000, counter_j=float(i // 20), power_w=70.0, average_w=70.0) for i in range(400)]
    assert from_readings("GPU-1", readings).average_s is None
    assert from_readings("GPU-1", []) == Calibration(device="GPU-1")


@pytest.mark.parametrize(("share", "verdict"), [(1.0, "decay"), (0.0, "lag"), (0.5, "undecided")])
def test_energy_over_equal_bursts_decides_whose_the_tail_is(share: float, verdict: str) -> None:
    draw = random.Random(verdict)
    tail_j = 60.0
    bursts = [
        Burst(n, n * 40.0 + share * tail_j + draw.gauss(0, 0.5), tail_j + draw.gauss(0, 0.5), 500.0)
        for n in (1, 2, 4, 8, 16, 3)
    ]
    assert shown(bursts, 0.1).tail == verdict and shown(bursts, 0.1).integrates is True
    assert shown(bursts[:4], 0.1) == Shown()


def test_equal_bursts_that_cost_unequal_joules_show_a_counter_that_sees_a_part_of_the_time() -> None:
    draw = random.Random("part")
    bursts = [Burst(n, n * 25.0 + 50.0 * draw.uniform(-0.7, 0.7), 0.0, 500.0) for n in (1, 2, 4, 8, 1, 16, 3, 1)]
    assert shown(bursts, 0.1).integrates is False


BOARDS = (
    (Board(decay_ms=120.0, jitter_ms=1.0, stamp_mode=STAMP_ZERO), "decay", 0.12, True),
    (Board(lag_ms=80.0, jitter_ms=1.0, power_tick_ms=93.0, stamp_mode=STAMP_ZERO), "lag", 0.08, True),
    (Board(stamp_mode=STAMP_ZERO), "decay", 0.0, True),
    (Board(decay_ms=60.0, counter_mode=COUNTER_SENSED_ONLY, stamp_mode=STAMP_ZERO), None, None, False),
    (Board(lag_ms=60.0, counter_mode=COUNTER_SENSED_ONLY, stamp_mode=STAMP_ZERO), None, None, None),
)


def test_a_calibration_of_simulated_boards_finds_decay_lag_and_what_the_counter_sees(tmp_path: Path) -> None:
    drawn = [Drawn("", board, 500.0) for board, *_ in BOARDS]
    found, _ = calibrated_virtually(Node(tmp_path, [board for board, *_ in BOARDS]), drawn, random.Random(1))
    for gpu, (_, tail, tail_s, whole) in enumerate(BOARDS):
        assert found[gpu].integrates is whole
        if tail_s is not None:
            assert found[gpu].tail == tail and found[gpu].tail_s == pytest.approx(tail_s, rel=0.1)


def test_what_windows_show_is_kept_and_a_calibration_made_meanwhile_is_taken_up(xdg: Path) -> None:
    hello = Hello(boards={"GPU-1": BoardFacts("H", "580.1", vbios="96.0")}, domains={}, tools={}, missing={}, pid=1)
    assert sources_from(PowerConfig(source="replay", trace="x"), hello).boards["GPU-1"].kept is None
    first, second = (sources_from(PowerConfig(source="nvml"), hello).boards["GPU-1"] for _ in range(2))
    assert first.kept is not None and second.known == NOTHING
    first.kept.keep(replace(first.known, tail="lag", integrates=True))
    kept = remembered("GPU-1", "580.1", "96.0")
    assert kept is not None and (kept.tail, kept.integrates, kept.learnt) == ("lag", True, True)
    assert first.kept.renewed() is None
    second.energy(0, 1)
    assert second.known == kept.known()


def test_a_calibration_without_bursts_leaves_the_verdicts_of_an_earlier_one() -> None:
    before = Calibration(device="GPU-1", tail="lag", tail_s=0.1, integrates=True, bursts=14, counter_period_s=0.1)
    idle = Calibration(device="GPU-1", counter_period_s=0.102)
    assert idle.over(before).tail == "lag" and idle.over(before).counter_period_s == 0.102
    assert idle.over(None) is idle
    loaded = Calibration(device="GPU-1", tail="decay", bursts=14)
    assert loaded.over(before) is loaded


def test_what_was_found_is_kept_by_device_driver_and_vbios(tmp_path: Path, xdg: Path) -> None:
    found = Calibration(device="GPU-1", driver="580.1", vbios="96.0", counter_period_s=0.1, tail="decay")
    file = remember(found)
    assert file.is_relative_to(xdg) and remembered("GPU-1", "580.1", "96.0") == found
    assert remembered("GPU-1", "590.0", "96.0") is None
    assert found.known().counter_period_s == 0.1 and found.known().tail == "decay"
    assert [path.suffix for path in file.parent.iterdir()] == [".json"]
    file.write_text("{ half")
    assert remembered("GPU-1", "580.1", "96.0") is None
    assert cache_file("GPU-1", None, None) != file


@pytest.fixture
def xdg(tmp_path: Path) -> Iterator[Path]:
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path / "a cache")
    yield tmp_path / "a cache"
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


class Playing:
    """A sensor on the real clock whose load is planned by the burst that is asked for."""

    device = "GPU-1"

    def __init__(self, tau_s: float) -> None:
        self.levels = [(0.0, 70.0, 0.0)]
        self.tau_s = tau_s

    def load(self, count: int) -> None:
        self.levels.append((time.monotonic(), 500.0, 0.0))
        time.sleep(0.05 * count)
        self.levels.append((time.monotonic(), 70.0, self.tau_s))

    def read(self) -> Reading:
        now = time.monotonic()
        tick = now // 0.04 * 0.04
        curve = Curve([level for level in self.levels if level[0] <= tick])
        power_w = (curve.integral_j(tick) - curve.integral_j(tick - 0.01)) / 0.01
        return Reading(round(now * 1e9), counter_j=round(curve.integral_j(tick) % 1e6, 3), power_w=power_w)


def test_equal_bursts_of_a_decaying_board_leave_its_tail_outside() -> None:
    board = Playing(tau_s=0.05)
    found = calibrate(board, board.load, counts=(1, 4, 2, 6, 3, 1), rest_s=0.9)
    assert found.tail in ("decay", "undecided")  # a busy machine reads late; it must never be called a lag
    assert found.counter_period_s == pytest.approx(0.04, rel=0.1)


def test_the_command_calibrates_a_simulated_board_and_says_what_it_cannot_know(tmp_path: Path) -> None:
    env = {**simulated_nvml(tmp_path, gpus=1), "XDG_CACHE_HOME": str(tmp_path / "a cache")}
    command = [sys.executable, "-m", "joulegrid", "power", "calibrate", "--no-load"]
    text = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert text.returncode == 0, text.stderr
    assert uuid_of(0) in text.stdout and "undecided" in text.stdout
    (kept,) = (tmp_path / "a cache" / "joulegrid" / "power").iterdir()
    found = json.loads(kept.read_text())
    assert found["counter_period_s"] == pytest.approx(0.1, rel=0.05) and found["tail"] == "undecided"
    strange = subprocess.run([*command, "--gpu", "GPU-none"], env=env, capture_output=True, text=True, timeout=60)
    assert strange.returncode == 2 and uuid_of(0) in strange.stderr and "Traceback" not in strange.stderr
    kept.write_text(json.dumps({**found, "bursts": 14, "tail": "lag"}))
    missing = subprocess.run([*command, "--missing"], env=env, capture_output=True, text=True, timeout=60)
    assert missing.returncode == 0 and not missing.stdout
    for uuid, code in ((uuid_of(0), 0), ("GPU-none", 1)):  # what a lane starts
        lane = subprocess.run([*COMMAND, uuid], env=env, capture_output=True, text=True, timeout=60)
        assert (lane.returncode, lane.stdout) == (code, "") and "Traceback" not in lane.stderr
    again = subprocess.run(
        [*command, "--gpu", uuid_of(0), "--json"], env=env, capture_output=True, text=True, timeout=60
    )
    assert json.loads(again.stdout)["tail"] == "lag"


def test_without_nvml_the_command_ends_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    command = [sys.executable, "-m", "joulegrid", "power", "calibrate"]
    text = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert text.returncode == 1 and "nvidia-smi" in text.stderr and "Traceback" not in text.stderr
