"""A GPU's clock beside the judge's, flushes that are taken off, and what a GPU may hold: arithmetic alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from joulegrid.kernels.timing.device_clock import (
    device_call_s,
    disagreement,
    lead_s,
    needs_flush,
    postponement,
)
from joulegrid.kernels.timing.flushes import without_flushes
from joulegrid.kernels.timing.gpu_conditions import GpuSnapshot, gpu_conditions, reason_names
from joulegrid.kernels.timing.ground import gpu_series_bytes, on_device
from joulegrid.kernels.timing.pairs import FLUSHES, Sample, durations
from joulegrid.kernels.timing.result import TimingSettings
from joulegrid.kernels.timing.slope import call_ns, channel_ns
from tests.kernels.timing.simulated import Machine

MS = 1_000_000
L2 = 60 << 20


def series(member: str, elapsed_ns: int, device_ns: int | None, copied_ns: int | None = MS) -> list[Sample]:
    """Series of ten and twenty calls of four pairs."""
    return [
        Sample(0, pair, member, 0, calls, elapsed_ns * calls // 20, None,
               None if device_ns is None else device_ns * calls // 20, copied_ns)
        for pair in range(4)
        for calls in (10, 20)
    ]  # fmt: skip


TRUSTED = series("eager", 20 * MS, 20 * MS - 80_000) + series("same", 20 * MS, 20 * MS - 120_000)


def test_events_that_agree_with_the_clock_as_the_trusted_ones_do_say_nothing() -> None:
    assert disagreement(TRUSTED + series("candidate", 10 * MS, 10 * MS - 100_000), "candidate") is None


@pytest.mark.parametrize("device_ns", [10 * MS // 100, 12 * MS, None])
def test_events_that_tell_another_time_than_the_clock_are_evidence(device_ns: int | None) -> None:
    found = disagreement(TRUSTED + series("candidate", 10 * MS, device_ns), "candidate")
    assert found is not None and found.check == "device clock"


def test_what_a_gpu_does_to_every_member_condemns_no_candidate() -> None:
    odd = series("eager", 20 * MS, 5 * MS) + series("same", 20 * MS, 5 * MS)
    assert disagreement(odd + series("candidate", 20 * MS, 5 * MS), "candidate") is None


def test_a_busy_machine_makes_no_disagreement() -> None:
    quiet = series("candidate", 10 * MS, 10 * MS - 100_000)
    busy = [replace(one, elapsed_ns=one.elapsed_ns + 9 * MS, copied_ns=9 * MS) if one.pair else one for one in quiet]
    assert disagreement(TRUSTED + busy, "candidate") is None
    assert postponement(TRUSTED + busy, "candidate") is None


def test_on_a_cpu_there_is_no_second_clock() -> None:
    samples = series("eager", MS, None, None) + series("candidate", MS, None, None)
    assert disagreement(samples, "candidate") is None
    assert postponement(samples, "candidate") is None


def test_work_that_is_done_while_outputs_are_copied_shows() -> None:
    late = series("candidate", 2 * MS, 2 * MS, copied_ns=20 * MS)
    found = postponement(TRUSTED + late, "candidate")
    assert found is not None and found.check == "copy of outputs"
    assert postponement(TRUSTED + series("candidate", 2 * MS, 2 * MS, copied_ns=int(1.3 * MS)), "candidate") is None


def test_flushes_are_taken_off_with_the_channel() -> None:
    machine, flush_ns, call = Machine(3, process_noise=0.0, series_noise=0.002), 65_000.0, 30_000.0
    samples = []
    for process in range(5):
        for pair in range(8):
            for calls in (100, 200):
                whole = machine.elapsed_ns(call + flush_ns, calls)
                samples.append(Sample(process, pair, "eager", 0, calls, whole))
                samples.append(Sample(process, pair, FLUSHES, 1, calls, machine.elapsed_ns(flush_ns, calls)))
    own = durations(without_flushes(samples), "eager")
    assert call_ns(own, channel_ns([own])).mean() == pytest.approx(call, rel=0.03)


def test_the_cache_is_flushed_where_inputs_lie_in_it_and_never_to_hide_a_launch() -> None:
    assert needs_flush(1e-3, 1 << 20, 20, L2)
    assert not needs_flush(1e-3, 4 << 20, 20, L2)
    assert not needs_flush(5e-6, 4 << 10, 2000, L2)
    assert not needs_flush(1e-3, 1 << 20, 20, None)


def test_a_device_pauses_for_as_long_as_queueing_takes_and_not_for_ever() -> None:
    assert lead_s(10e-6, 32) > 32 * 10e-6
    assert lead_s(1.0, 32) == 2.0
    assert device_call_s([5000, 7000, 90000]) == 7e-6
    assert device_call_s([]) is None


def test_a_series_takes_a_part_of_what_a_gpu_has_free() -> None:
    assert gpu_series_bytes(140 << 30) == 8 << 30
    assert gpu_series_bytes(24 << 30) == 2 << 30
    assert gpu_series_bytes(0) == 1 << 20
    assert on_device(TimingSettings()) == TimingSettings()


def test_conditions_of_a_gpu_count_others_and_what_held_clocks_back() -> None:
    before = GpuSnapshot("GPU-1", sm_mhz=345, power_held_ns=5, programs=frozenset({7}))
    after = replace(before, sm_mhz=1980, reasons=0x4 | 0x1, power_held_ns=2_000_000_005, programs=frozenset({7, 8, 9}))
    found = gpu_conditions(before, after, own=frozenset({7}))
    assert found is not None
    assert (found.sm_mhz_before, found.sm_mhz_after, found.power_held_s, found.others) == (345, 1980, 2.0, 2)
    assert found.held_back_after == ("software_power_cap",)
    assert found.heat_held_s is None
    assert gpu_conditions(None, after, frozenset()) is None
    assert reason_names(0x1) == () and reason_names(1 << 20) == ("0x100000",)
