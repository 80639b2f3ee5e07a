"""What a device says of itself, on the CPU."""

from __future__ import annotations

import psutil
import pytest

from joulegrid.kernels.device import (
    PINNED,
    device_name,
    peak_memory,
    pinned_precision,
    precision_flags,
    refusal,
    supports,
    synchronize,
)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_the_cpu_computes_in_every_precision(precision: str) -> None:
    assert refusal(precision, "cpu") is None
    assert supports(precision, "cpu")


def test_an_unknown_precision_is_a_fault_of_ours() -> None:
    with pytest.raises(KeyError):
        supports("int3", "cpu")


def test_the_peak_of_a_cpu_process_is_at_least_what_is_resident_now() -> None:
    peak = peak_memory("cpu")
    assert peak.kind == "rss_max"
    assert peak.bytes is not None
    assert peak.bytes > 0.9 * psutil.Process().memory_info().rss


def test_there_is_nothing_to_wait_for_on_the_cpu() -> None:
    synchronize("cpu")
    assert device_name("cpu")


def test_flags_of_precision_are_pinned_inside_the_block_and_put_back() -> None:
    torch = pytest.importorskip("torch")
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with pinned_precision():
            assert precision_flags() == PINNED
        assert precision_flags()["cuda.matmul.fp32_precision"] == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = "none"
