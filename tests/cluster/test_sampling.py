"""The sampling process: real processes over the simulated NVML library; killed, stopped, orphaned, marked."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from joulegrid.cluster.power.sampler.burst import BLIND_NS, LONGEST_NS, SAVED_NS, SHARE, Burst
from joulegrid.cluster.power.sampler.continued import Continued
from joulegrid.cluster.power.sampler.feed import Feed, order_for
from joulegrid.cluster.power.sampler.frames import Frame, frames_in, packed_json, packed_reading, packed_round
from joulegrid.cluster.power.sampler.marks import mark_sender
from joulegrid.cluster.power.sampler.recorder import Recorder, Target
from joulegrid.cluster.power.sensors.late import LateRing
from joulegrid.cluster.power.sensors.raw import LOOK, reading_of
from joulegrid.cluster.power.sensors.readings import Reading
from tests.cluster.nvml_simulated.build import Control, simulated_nvml, uuid_of
from tests.cluster.power_reader import eventually, is_alive, recorder_over

if TYPE_CHECKING:
    from joulegrid.cluster.power.sampler.frames import Hello
    from joulegrid.cluster.power.sensors.condition import Condition

S = 1_000_000_000
FIRST = Target(gpu_uuids=(uuid_of(0),))


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return simulated_nvml(tmp_path, gpus=2)


def pid_of(recorder: Recorder) -> int:
    pid = recorder.sampling_pid
    assert pid is not None
    return pid


def test_the_process_is_small_and_loads_neither_ray_nor_pydantic_nor_torch(env: dict[str, str]) -> None:
    with recorder_over(env) as recorder:
        status = Path(f"/proc/{pid_of(recorder)}/status").read_text()
        maps = Path(f"/proc/{pid_of(recorder)}/maps").read_text()
    peak_kb = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    assert peak_kb < 30_000
    assert "pydantic" not in maps and "_raylet" not in maps and "libtorch" not in maps


def test_a_killed_process_is_replaced_and_a_window_around_its_death_is_still_known(env: dict[str, str]) -> None:
    control = Control(env)
    with recorder_over(env) as recorder:
        time.sleep(0.3)
        t0_ns = time.monotonic_ns()
        first = pid_of(recorder)
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: recorder.sampling_pid not in (None, first))
        assert eventually(lambda: recorder.describe()["outages"] and recorder.describe()["outages"][0]["until_ns"])
        time.sleep(0.4)
        t1_ns = time.monotonic_ns()
        energy, _ = recorder.energy(t0_ns, t1_ns, FIRST, 0.0)
        outage = recorder.describe()["outages"][0]
        lost = recorder.lost(t0_ns, t1_ns)
    assert "SIGKILL" in outage["why"] and "SIGKILL" in str(lost)
    assert energy.energy_j == pytest.approx(control.energy_j(0, t0_ns, t1_ns), rel=0.1), "the counter has gone on"


def test_a_window_that_a_dead_process_has_missed_is_null_and_names_the_death(env: dict[str, str]) -> None:
    with recorder_over(env) as recorder:
        time.sleep(0.3)
        os.environ["SIMULATED_NVML_FILE"] = "/nowhere"  # its successors find no driver
        os.kill(pid_of(recorder), signal.SIGKILL)
        t0_ns = time.monotonic_ns()
        time.sleep(0.3)
        energy, _ = recorder.energy(t0_ns, time.monotonic_ns(), FIRST, 0.0)
        assert energy.energy_j is None
        assert "SIGKILL" in str(recorder.lost(t0_ns, time.monotonic_ns()))
        assert "SIGKILL" in str(energy.reason)


def test_a_process_that_does_not_answer_hangs_nobody_and_its_windows_are_null(env: dict[str, str]) -> None:
    with recorder_over(env) as recorder:
        time.sleep(0.3)
        stopped = pid_of(recorder)
        os.kill(stopped, signal.SIGSTOP)
        t0_ns = time.monotonic_ns()
        time.sleep(1.1)
        asked_ns = time.monotonic_ns()
        energy, _ = recorder.energy(t0_ns, asked_ns, FIRST, 0.0)
        assert time.monotonic_ns() - asked_ns < 2 * S
        assert energy.energy_j is None and "not answered" in str(energy.reason)
        assert recorder.lost(t0_ns, asked_ns) is None, "a hang is no death: another attempt would hang as well"
        os.kill(stopped, signal.SIGCONT)


def test_windows_that_no_clock_can_have_shown_are_null_and_say_why(env: dict[str, str]) -> None:
    with recorder_over(env) as recorder:
        now_ns = time.monotonic_ns()
        for t0_ns, t1_ns, why in (
            (now_ns, now_ns + 60 * S, "has not ended: its end lies"),
            (now_ns, now_ns - S, "is empty"),
            (now_ns - 9_000 * S, now_ns - 8_999 * S, "no reading lies near the window"),
            (-5, -1, "no reading lies near the window"),
        ):
            energy, beside = recorder.energy(t0_ns, t1_ns, FIRST, 1.0)
            assert energy.energy_j is None and why in str(energy.reason)
            assert all(one.energy_j is None for one in beside) or t1_ns <= now_ns, "nor is a future modelled"
        assert recorder.conditions(now_ns, now_ns - S, FIRST) == []
        assert time.monotonic_ns() - now_ns < 5 * S, "nothing of it is waited for"


class Heard:
    """Remembers when rounds came."""

    def __init__(self) -> None:
        self.rounds = 0

    def opened(self, hello: Hello) -> None: ...
    def refused(self, why: str) -> None: ...
    def take(self, device: str, reading: Reading) -> None: ...
    def take_raw(self, device: str, raw: bytes) -> None: ...
    def explain(self, device: str, condition: Condition | bytes) -> None: ...
    def turn(self) -> bool:
        return False

    def round_done(self, began_ns: int, missed: int) -> None:
        self.rounds += 1


def test_a_process_that_stays_silent_is_killed_and_replaced(env: dict[str, str]) -> None:
    os_env = dict(os.environ)
    os.environ.update(env)
    heard = Heard()
    feed = Feed(order_for("nvml", 0.05, Path("/nowhere")), heard, silence_s=0.5)
    try:
        feed.start()
        assert eventually(lambda: heard.rounds > 2)
        first = feed.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        assert eventually(lambda: feed.pid not in (None, first))
        assert not is_alive(first)
        assert feed.outages[0].hung and "hung" in feed.outages[0].why
    finally:
        feed.stop()
        os.environ.clear()
        os.environ.update(os_env)


PARENT = """
import sys, time
from joulegrid.cluster.power.sampler.recorder import Recorder
from joulegrid.cluster.power.sensors.sources import PowerConfig
recorder = Recorder(PowerConfig(source="nvml"))
print(recorder.sampling_pid, flush=True)
time.sleep(60)
"""


def test_a_killed_parent_leaves_no_orphan(env: dict[str, str]) -> None:
    command = [sys.executable, "-c", PARENT]
    path = str(Path(__file__).parents[2])
    with subprocess.Popen(command, env={**env, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            reader = int(parent.stdout.readline())
            assert is_alive(reader)
        finally:
            parent.kill()
    assert eventually(lambda: not is_alive(reader), 5.0)


def test_a_mark_makes_the_readings_denser_for_a_moment(env: dict[str, str]) -> None:
    with recorder_over(env) as recorder:
        time.sleep(0.3)
        mark = mark_sender(recorder.marks)
        costs_us = []
        for _ in range(10):
            began_ns = time.perf_counter_ns()
            for _ in range(10):
                mark()
            costs_us.append((time.perf_counter_ns() - began_ns) / 1e4)
        t0_ns = time.monotonic_ns()
        time.sleep(0.6)
        conditions = recorder.conditions(t0_ns, t0_ns + S // 10, FIRST)[0]
        later = recorder.conditions(t0_ns + 4 * S // 10, t0_ns + 6 * S // 10, FIRST)[0]
    assert conditions.power_readings >= 8, "0.1 s at 5 ms is 20, at 50 ms 2; machines are busy"
    assert later.power_readings <= 6
    assert min(costs_us) < 50


def test_a_mark_to_nobody_is_lost_quietly() -> None:
    mark_sender("joulegrid-nobody-listens-here")()
    mark_sender("")()


def test_what_was_recorded_with_a_window_is_what_the_driver_says(env: dict[str, str]) -> None:
    control = Control(env)
    with recorder_over(env) as recorder:
        control.gpu(0).temperature_c = 71
        t0_ns = time.monotonic_ns()
        time.sleep(1.2)
        control.gpu(0).temperature_c, control.gpu(0).throttle_reasons = 75, 0x20
        time.sleep(1.2)
        t1_ns = time.monotonic_ns()
        energy, _ = recorder.energy(t0_ns, t1_ns, FIRST, 0.0)
        found = recorder.conditions(t0_ns, t1_ns, FIRST)[0]
        other = recorder.conditions(t0_ns, t1_ns, Target(gpu_uuids=(uuid_of(1),)))[0]
    assert found.limits is not None and found.limits.current_w == 700.0 and found.limits.min_w == 200.0
    assert found.sm_clock is not None and found.sm_clock.min_mhz == 1700
    assert found.p_state == 0 and found.driver == "0.0-simulated" and found.persistence is True
    assert found.temperature_max_c == 75 and found.temperature_end_c == 75
    assert "sw_thermal_slowdown" in found.throttle_reasons and found.throttled is True
    assert energy.flags == ("short", "throttled") and energy.energy_j is not None, "flagged, never discarded"
    assert other.throttled is False
    assert found.power_readings >= 35 and found.longest_gap_s is not None and found.longest_gap_s < 1.0


def test_frames_come_back_as_they_were_packed_however_the_pipe_cuts_them() -> None:
    whole = Reading(7, 1.5, 2.5, 3.5, 11, 12)
    poor = Reading(8, trouble="NVML: GPU is lost – ü")
    data = (
        packed_json("hello", 0, {"a": 1}) + packed_reading(0, whole) + packed_reading(5, poor) + packed_round(1, 2, 3)
    )
    buffer, found = bytearray(), list[Frame]()
    for byte in data:
        buffer.append(byte)
        found += frames_in(buffer)
    assert [frame.kind for frame in found] == ["hello", "reading", "reading", "round"]
    assert found[0].json() == {"a": 1}
    assert (found[1].device, found[1].reading()) == (0, whole)
    assert (found[2].device, found[2].reading()) == (5, poor)
    assert buffer == b""


def a_look(call: int = 0, **fields: tuple[int, int, int]) -> bytes:
    """A look as NVML writes it; fields are (type, code, bits), in their order."""
    told = [(0, 0, 1_700_000_000_000_000, 0, kind, code, bits) for kind, code, bits in fields.values()]
    return LOOK.pack(7, call) + b"".join(struct.pack("=IIqqIIQ", *one) for one in told)


def test_a_look_is_read_by_the_types_and_codes_that_nvml_gave() -> None:
    stamp_ns = 1_700_000_000_000_000_000
    half = int.from_bytes(struct.pack("=d", 1500.0), sys.byteorder)
    raw = a_look(counter=(3, 0, 2**40), power=(1, 0, 250_000 | 7 << 32), average=(0, 0, half))
    assert reading_of(raw, {}) == Reading(7, 2**40 / 1000, 250.0, 1.5, stamp_ns, stamp_ns)
    poor = a_look(counter=(3, 3, 5), power=(1, 0, 9_000), average=(1, 3, 0))
    assert reading_of(poor, {3: "Not Supported"}) == Reading(
        7, None, 9.0, None, None, stamp_ns, "NVML field 83: Not Supported"
    )
    assert reading_of(a_look(15, counter=(0, 0, 0), power=(0, 0, 0), average=(0, 0, 0)), {}).trouble == "NVML: error 15"


def test_what_is_kept_as_bytes_is_decoded_for_the_window_that_asks_and_for_no_other() -> None:
    decoded = list[int]()

    def decode(raw: bytes) -> Reading:
        decoded.append(struct.unpack("=q", raw)[0])
        return Reading(decoded[-1])

    ring = LateRing(5, decode)
    for t_ns in range(7):
        ring.append(struct.pack("=q", t_ns))
    ring.append(Reading(7))
    assert [one.t_ns for one in ring.between(0, 9)] == [3, 4, 5, 6, 7]
    decoded.clear()
    assert [one.t_ns for one in ring.between(5, 6)] == [5, 6] and decoded == [5, 6]
    last = ring.last()
    assert last is not None and last.t_ns == 7


def test_readings_are_taken_in_blocks_while_nobody_waits_and_each_by_itself_while_somebody_does(
    env: dict[str, str],
) -> None:
    def arrivals(recorder: Recorder) -> int:
        seen, until_s = set[int](), time.monotonic() + 1.0
        while time.monotonic() < until_s:
            seen.add(recorder._intake.rounds)
            time.sleep(0.005)
        return len(seen) - 1

    with recorder_over(env) as recorder:
        before = recorder._intake.rounds
        alone = arrivals(recorder)
        assert alone <= 5 and recorder._intake.rounds - before > 10
        with recorder._feed.attention.drawn():
            assert arrivals(recorder) > alone + 2


def test_a_burst_ends_when_every_counter_has_ticked_twice_and_never_takes_more_than_its_share() -> None:
    burst = Burst(5_000_000)
    burst.saw("a", 1.0)
    now_ns = 100 * S
    burst.begin(now_ns)
    assert burst.is_on(now_ns + 5_000_000)
    for value in (2.0, 3.0):
        burst.saw("a", value)
    assert not burst.is_on(now_ns + 10_000_000)
    fast = 0
    for step in range(20_000):  # 100 s of marks without a pause
        now_ns += 5_000_000
        if step % 20 == 0:
            burst.begin(now_ns)
        fast += burst.is_on(now_ns)
    assert fast * 5_000_000 <= SHARE * 100 * S + SAVED_NS + LONGEST_NS
    blind = Burst(5_000_000)
    blind.begin(S)
    assert blind.is_on(S + BLIND_NS - 1) and not blind.is_on(S + BLIND_NS)


def test_a_rapl_counter_goes_on_after_a_restart_of_its_reader() -> None:
    counter = Continued(range_j=100.0)
    counter.restart()
    assert [counter.joined(Reading(1, value)).counter_j for value in (50.0, 99.0, 103.0)] == [50.0, 99.0, 103.0]
    counter.restart()
    assert [counter.joined(Reading(2, value)).counter_j for value in (5.0, 6.0)] == [105.0, 106.0]
    counter.restart()
    assert counter.joined(Reading(3, 4.0)).counter_j == 204.0 - 100.0 + 100.0, "one wrap at most is supposed"
