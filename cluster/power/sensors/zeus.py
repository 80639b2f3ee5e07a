"""GPU boards as Zeus reads them (https://ml.energy/zeus), for comparison: its device layer, read each period.

`ZeusMonitor.begin_window` and `end_window` read `get_total_energy_consumption` of this layer and subtract; so does
`joulegrid.cluster.power.sensors.edges`. Every GPU of the node is opened by its NVML index: Zeus's own list of GPUs
follows `CUDA_VISIBLE_DEVICES` and is empty, without an error, where that is empty.
"""

from __future__ import annotations

import time
from typing import Any

from joulegrid.cluster.power.sensors.readings import Reading
from joulegrid.errors import PreFlightError

REMEDY = (
    "pip install --no-deps 'zeus>=0.16,<0.17' and pip install 'joulegrid[zeus]' (its other dependencies; not amdsmi, "
    "with which Ray does not start on a machine without AMD's library), or choose the source auto"
)


class ZeusSensor:
    """One GPU through Zeus."""

    def __init__(self, gpu: Any, device: str) -> None:
        self._gpu = gpu
        self.device = device
        self.name: str = gpu.get_name()

    def read(self) -> Reading:
        """Read the counter as Zeus does."""
        from zeus.device.exception import ZeusBaseError

        before_ns = time.monotonic_ns()
        try:
            counter_j = self._gpu.get_total_energy_consumption() / 1000
        except ZeusBaseError as error:
            return Reading(time.monotonic_ns(), trouble=f"{type(error).__name__}: {error}")
        return Reading((before_ns + time.monotonic_ns()) // 2, counter_j)


def open_zeus() -> list[ZeusSensor]:
    """Open every GPU of the node through Zeus.

    Raises `PreFlightError` with the remedy where Zeus, NVML or a GPU is missing, or a GPU is too old for a counter.
    """
    try:
        import pynvml
        from zeus.device.exception import ZeusBaseError
        from zeus.device.gpu.nvidia import NVIDIAGPU, nvml_is_available
    except ImportError as error:
        raise PreFlightError(f"power source zeus: {error}. {REMEDY}") from error
    if not nvml_is_available():
        raise PreFlightError("power source zeus: NVML does not start. Check `nvidia-smi`, or choose the source auto")
    try:
        gpus = [NVIDIAGPU(index) for index in range(pynvml.nvmlDeviceGetCount())]
        old = [gpu.get_name() for gpu in gpus if not gpu.supports_get_total_energy_consumption()]
    except ZeusBaseError as error:
        raise PreFlightError(f"power source zeus: a GPU cannot be opened ({error}). Check `nvidia-smi`") from error
    if old or not gpus:
        what = f"{old[0]} has no energy counter" if old else "NVML sees no GPU"
        raise PreFlightError(f"power source zeus: {what}; choose the source auto")
    return [ZeusSensor(gpu, pynvml.nvmlDeviceGetUUID(gpu.handle)) for gpu in gpus]
