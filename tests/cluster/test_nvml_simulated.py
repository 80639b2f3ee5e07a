"""The simulated board itself: what its sensors publish follows from a true energy that is worked out apart from it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.nvml_simulated.build import (
    COUNTER_SENSED_ONLY,
    INSTANT_UNSUPPORTED,
    Board,
    Control,
    simulated_nvml,
    uuid_of,
)
from tests.cluster.nvml_simulated.layout import EVENT_FIELDS, STAMP_CALL, STAMP_CONSTANT, STAMP_ZERO
from tests.cluster.nvml_simulated.loads import cut, llm, ramp, square

if TYPE_CHECKING:
    from collections.abc import Iterator

S = 1_000_000_000
ROOT = Path(__file__).parents[2]
READER = """
import json, sys, time, pynvml
pynvml.nvmlInit()
for line in sys.stdin:
    gpu, fields, n, pause_s = json.loads(line)
    handle = pynvml.nvmlDeviceGetHandleByIndex(gpu)
    seen = []
    for _ in range(n):
        values = pynvml.nvmlDeviceGetFieldValues(handle, fields)
        now = time.monotonic_ns()
        raw = [v.value.ullVal if v.valueType == 3 else v.value.uiVal for v in values]
        seen.append([now, raw, [v.timestamp for v in values], [v.nvmlReturn for v in values]])
        time.sleep(pause_s)
    print(json.dumps(seen), flush=True)
"""
BOARDS = (
    Board(decay_ms=150.0, jitter_ms=4.0),
    Board(lag_ms=80.0, stamp_mode=STAMP_ZERO),
    Board(counter_mode=COUNTER_SENSED_ONLY, window_ms=20.0, stamp_mode=STAMP_CONSTANT),
    Board(tick_ms=500.0, stamp_mode=STAMP_CALL),
    Board(tick_ms=20.0, window_ms=20.0, average_ms=0.0, counter_quantum_mj=1000, power_quantum_mw=1000),
    Board(decay_ms=90.0, lag_ms=90.0),
)


class Reader:
    """Asks the library in a process of its own."""

    def __init__(self, env: dict[str, str]) -> None:
        self.control = Control(env)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", READER], env=env, stdin=pipe, stdout=pipe, text=True)

    def fields(self, gpu: int, *fields: int, n: int = 1, pause_s: float = 0.0) -> list[list[Any]]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([gpu, fields, n, pause_s]) + "\n")
        self.process.stdin.flush()
        seen: list[list[Any]] = json.loads(self.process.stdout.readline())
        return seen


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    reader = Reader(simulated_nvml(tmp_path_factory.mktemp("boards"), boards=BOARDS))
    try:
        yield reader
    finally:
        reader.process.kill()
        reader.process.communicate()


def loads_of_the_past(reader: Reader, gpu: int) -> tuple[int, int]:
    """Give a GPU a varied past that ended seven ticks ago, within the ten seconds that the simulation has been."""
    idle_w = 70.0
    control, start_ns = reader.control, time.monotonic_ns() - 4 * S
    if control.gpu(gpu).n_steps == 1:
        t_ns = control.play(gpu, start_ns, cut(llm(random.Random(gpu), 600.0, idle_w), 1.5), idle_w)
        t_ns = control.play(gpu, t_ns + S // 10, cut(square(500.0, 90.0, 0.1), 1.0), idle_w)
        control.play(gpu, t_ns + S // 10, ramp(100.0, 400.0, 0.5), idle_w)
    gpu_state = control.gpu(gpu)
    return gpu_state.steps[1].t_ns, gpu_state.steps[gpu_state.n_steps - 1].t_ns


@pytest.mark.parametrize("gpu", [0, 1, 3, 4, 5])
def test_an_integrating_counter_ends_at_the_true_energy_once_everything_has_settled(reader: Reader, gpu: int) -> None:
    _, t1_ns = loads_of_the_past(reader, gpu)
    time.sleep(max(0.0, (t1_ns + 1.7 * S - time.monotonic_ns()) / S))
    [[now_ns, [counter_mj], _, _]] = reader.fields(gpu, 83)
    gpu_state = reader.control.gpu(gpu)
    tick_ns, origin_ns = gpu_state.sensor.tick_ns, gpu_state.steps[0].t_ns
    since = (now_ns - origin_ns - gpu_state.sensor.phase_ns) // tick_ns
    published_ns = origin_ns + gpu_state.sensor.phase_ns + since * tick_ns
    truth_j = reader.control.energy_j(gpu, origin_ns, published_ns)
    counted_j = counter_mj / 1000 - gpu_state.counter_start_j
    # All is idle at 70 W by now: left are the tick's jitter, a quantum of 1 J, and ticks while the reader was held up.
    tick_j = 70.0 * tick_ns / S
    passed = round((counted_j - truth_j) / tick_j)
    assert abs(passed) <= 5 and counted_j == pytest.approx(truth_j + passed * tick_j, abs=1.01 + 70.0 * 0.004)


def test_a_counter_of_the_sensed_part_alone_misses_what_falls_between_its_windows(reader: Reader) -> None:
    gpu, idle_w = 2, 70.0
    control = reader.control
    state = control.gpu(gpu)
    first_ns = state.steps[0].t_ns + state.sensor.phase_ns
    tick_ns = (time.monotonic_ns() - first_ns) // state.sensor.tick_ns + 3
    start_ns = first_ns + tick_ns * state.sensor.tick_ns
    [[_, [before_mj], _, _]] = reader.fields(gpu, 83)
    control.play(gpu, start_ns + 1, cut(square(600.0, idle_w, 0.1, duty=0.5), 1.0), idle_w)
    time.sleep((start_ns - time.monotonic_ns()) / S + 1.15)
    [[now_ns, [after_mj], _, _]] = reader.fields(gpu, 83)
    counted_w = (after_mj - before_mj) / 1000 / ((now_ns - start_ns) / S)
    assert control.energy_j(gpu, start_ns, start_ns + S) == pytest.approx(335.0, rel=1e-3)
    assert counted_w < 110.0  # the pulses lie outside of the sensed 20 ms before each tick


def test_true_power_decays_but_a_lagging_sensor_only_shows_so(reader: Reader) -> None:
    for gpu, during_w in ((0, 70.0 + 430.0 * 0.3679), (1, 70.0)):
        at_ns = time.monotonic_ns()
        reader.control.step(gpu, at_ns, 500.0)
        reader.control.step(gpu, at_ns + S // 5, 70.0)
        constant_ns = reader.control.gpu(gpu).sensor.decay_ns or 150_000_000
        assert reader.control.power_w(gpu, at_ns + S // 5 + constant_ns) == pytest.approx(during_w, rel=1e-3)
    seen = reader.fields(1, 186, n=60, pause_s=0.01)
    watts = [raw[0] / 1000 for _, raw, _, _ in seen]
    assert 300.0 < max(watts) < 480.0, "the lag has not followed the whole step in 200 ms"
    assert any(75.0 < power_w < 200.0 for power_w in watts), "and comes down slowly"


def test_stamps_move_with_the_update_or_stand_or_are_zero_or_of_the_call(reader: Reader) -> None:
    stamps = {gpu: [stamp[0] for _, _, stamp, _ in reader.fields(gpu, 83, n=30, pause_s=0.01)] for gpu in range(4)}
    moves = [after - before for before, after in pairwise(sorted(stamps[0])) if after - before > 1000]
    assert moves and all(80_000 < move < 120_000 for move in moves)
    assert set(stamps[1]) == {0}
    assert len(set(stamps[2])) == 1 and stamps[2][0] > 0
    assert len(set(stamps[3])) == 30


def test_updates_come_at_the_boards_own_pace_in_its_own_quanta(reader: Reader) -> None:
    slow = {raw[0] for _, raw, _, _ in reader.fields(3, 83, n=60, pause_s=0.02)}
    assert 2 <= len(slow) <= 5
    fast = [raw[0] for _, raw, _, _ in reader.fields(4, 83, n=20, pause_s=0.02)]
    assert all(value % 1000 == 0 for value in fast)
    [[_, [instant_mw, average_mw], _, _]] = reader.fields(4, 186, 185)
    assert average_mw == instant_mw and instant_mw % 1000 == 0


def test_power_can_be_missing_alone_and_throttling_counts_nanoseconds(reader: Reader) -> None:
    gpu = reader.control.gpu(0)
    gpu.faults = INSTANT_UNSUPPORTED
    [[_, _, _, returned]] = reader.fields(0, 83, 185, 186)
    gpu.faults = 0
    assert returned == [0, 0, 3]
    gpu.event_ns[0], gpu.event_since_ns[3] = 5 * S, time.monotonic_ns()
    first, second = reader.fields(0, *EVENT_FIELDS, n=2, pause_s=0.05)
    gpu.event_ns[0], gpu.event_since_ns[3] = 0, 0
    assert first[1][0] == second[1][0] == 5 * S
    assert second[1][3] - first[1][3] >= 50_000_000
    assert set(second[3]) == {0}


@pytest.mark.parametrize("lie", ["scale", "freeze", "jump"])
def test_a_counter_can_lie(tmp_path: Path, lie: str) -> None:
    lying = Reader(simulated_nvml(tmp_path, gpus=1, idle_w=200.0))
    try:
        gpu, now_ns = lying.control.gpu(0), time.monotonic_ns()
        assert gpu.uuid.decode() == uuid_of(0)
        if lie == "scale":
            gpu.counter_scale = 0.5
        elif lie == "freeze":
            gpu.freeze_ns, gpu.thaw_ns = now_ns + S // 5, now_ns + 3 * S // 5
        else:
            gpu.jump_ns, gpu.jump_j = now_ns + S // 2, 5000.0
        seen = [raw[0] / 1000 for _, raw, _, _ in lying.fields(0, 83, n=50, pause_s=0.02)]
    finally:
        lying.process.kill()
        lying.process.communicate()
    steps = [after - before for before, after in pairwise(seen) if after != before]
    if lie == "scale":
        assert steps == pytest.approx([10.0] * len(steps), abs=0.1)
    else:
        assert max(steps) == pytest.approx(100.0 if lie == "freeze" else 5020.0, abs=25.0)
