"""Which device a child works on, and so what it does where devices differ."""

from __future__ import annotations

from typing import Any

from joulegrid.kernels.judge.child_cpu import CpuDevice, StagedCpuDevice
from joulegrid.kernels.judge.child_cuda import CudaDevice


def device_of(orders: Any) -> CpuDevice | CudaDevice:
    """Return the device that the judge has ordered."""
    if orders.device == "cuda":
        return CudaDevice()
    return StagedCpuDevice() if orders.staged else CpuDevice()
