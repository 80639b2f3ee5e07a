"""GPU boards as CodeCarbon reads them (https://codecarbon.io), for comparison: its GPU devices, read each period.

A `GPUDevice` adds the difference of the energy counter since its last reading, and where that fails the mean of
`nvmlDeviceGetPowerUsage` times the seconds. Its CPU and memory models are not used: they would be modelled joules.
"""

from __future__ import annotations

import time
from typing import Any

from joulegrid.cluster.power.sensors.readings import Reading
from joulegrid.errors import PreFlightError

J_PER_KWH = 3.6e6
REMEDY = "pip install 'joulegrid[codecarbon]', or choose the source auto"
CHECK = "Check `nvidia-smi`, or choose the source auto"


class CodeCarbonSensor:
    """One GPU through CodeCarbon; the joules since it was opened."""

    def __init__(self, gpu: Any) -> None:
        self._gpu = gpu
        details = gpu.get_static_details()
        self.device: str = details["uuid"]
        self.name: str = details["name"]
        self._energy_j = 0.0
        self._last_ns = time.monotonic_ns()

    def read(self) -> Reading:
        """Add what CodeCarbon says was used since the last reading. It never raises: a failure is 0 J to it."""
        from codecarbon.core.units import Time

        before_ns = time.monotonic_ns()
        self._gpu.sample_power()
        delta = self._gpu.delta(Time.from_seconds((before_ns - self._last_ns) / 1e9))
        self._last_ns = before_ns
        self._energy_j += delta["delta_energy_consumption"].kWh * J_PER_KWH
        return Reading((before_ns + time.monotonic_ns()) // 2, self._energy_j)


def open_codecarbon() -> list[CodeCarbonSensor]:
    """Open every NVIDIA GPU of the node through CodeCarbon.

    Raises `PreFlightError` with the remedy where CodeCarbon, NVML or a GPU is missing.
    """
    try:
        import pynvml as nvml
        from codecarbon.core import gpu_nvidia
    except ImportError as error:
        raise PreFlightError(f"power source codecarbon: {error}. {REMEDY}") from error
    if not gpu_nvidia.PYNVML_AVAILABLE:
        raise PreFlightError(f"power source codecarbon: NVML does not start. {CHECK}")
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        gpus = [gpu_nvidia.NvidiaGPUDevice(handle=handle, gpu_index=i) for i, handle in enumerate(handles)]
    except nvml.NVMLError as error:
        raise PreFlightError(f"power source codecarbon: a GPU cannot be opened ({error}). {CHECK}") from error
    if not gpus:
        raise PreFlightError(f"power source codecarbon: NVML sees no GPU. {CHECK}")
    return [CodeCarbonSensor(gpu) for gpu in gpus]
