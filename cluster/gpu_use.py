"""What a GPU is doing this moment, by NVML: its memory, processes, utilisation and temperature. No power.

`joulegrid.cluster.node` describes what does not change; `joulegrid.cluster.power.sensors.nvml` reads power all the
time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from joulegrid.cluster.node import ask

LOST = (15, 16, 999)
"""NVML_ERROR_GPU_IS_LOST, _RESET_REQUIRED and _UNKNOWN: what a GPU that has fallen off the bus answers."""
NOT_FOUND = 6


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a GPU."""

    pid: int
    """As NVML says it: inside a container it may be the number on the host."""
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class GpuUse:
    """One GPU, or MIG instance, at one instant; `None` where NVML does not say."""

    uuid: str
    memory_bytes: int | None = None
    processes: tuple[GpuProcess, ...] | None = None
    utilisation_percent: float | None = None
    """Of the last 1/6 to 1 s, NVML's own interval."""
    celsius: float | None = None
    lost: str | None = None
    """NVML's words where the GPU does not answer any more."""


def look(uuids: tuple[str, ...]) -> tuple[GpuUse, ...]:
    """Look at these GPUs once: about 0.1 ms each, and once in a process the time that NVML needs to start."""
    if not uuids:
        return ()
    try:
        import pynvml
    except ImportError:
        return tuple(GpuUse(uuid) for uuid in uuids)
    try:
        _open(os.getpid())
        return tuple(_look(pynvml, uuid) for uuid in uuids)
    except pynvml.NVMLError as error:
        return tuple(GpuUse(uuid, lost=f"NVML: {error}") for uuid in uuids)


@lru_cache(maxsize=1)
def _open(pid: int) -> None:
    """Start NVML once in a process and leave it open; an error is not remembered."""
    import pynvml

    pynvml.nvmlInit()


def memory_bytes(uses: tuple[GpuUse, ...]) -> int | None:
    """Memory in use on all of them together; `None` where one is unknown, or there are none."""
    known = [use.memory_bytes for use in uses if use.memory_bytes is not None]
    return sum(known) if known and len(known) == len(uses) else None


def hottest(uses: tuple[GpuUse, ...]) -> float | None:
    """Temperature of the warmest; `None` where none is known."""
    return max((use.celsius for use in uses if use.celsius is not None), default=None)


def busiest(uses: tuple[GpuUse, ...]) -> float | None:
    """Utilisation of the busiest in percent; `None` where none is known."""
    return max((use.utilisation_percent for use in uses if use.utilisation_percent is not None), default=None)


def lost(uses: tuple[GpuUse, ...]) -> str | None:
    """Say which GPU does not answer any more, or `None`."""
    return next((f"GPU {use.uuid} does not answer: {use.lost}" for use in uses if use.lost), None)


def parents(uuids: tuple[str, ...]) -> tuple[str, ...]:
    """Return the GPUs that these MIG instances are parts of; a whole GPU stands for itself."""
    if not any(uuid.startswith("MIG-") for uuid in uuids):
        return uuids
    import pynvml

    try:
        _open(os.getpid())
        return tuple(_parent(pynvml, uuid) for uuid in uuids)
    except pynvml.NVMLError:
        return uuids


def slices_of(uuid: str) -> tuple[int, int] | None:
    """Return (compute slices of a MIG instance, compute slices of its GPU); `None` where NVML does not say."""
    import pynvml

    try:
        _open(os.getpid())
        instance = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        attributes = ask(pynvml, "nvmlDeviceGetAttributes_v2", instance)
        gpu = ask(pynvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", instance)
        most = None if gpu is None else ask(pynvml, "nvmlDeviceGetMaxMigDeviceCount", gpu)
    except pynvml.NVMLError:
        return None
    if attributes is None or not most:
        return None
    return int(attributes.computeInstanceSliceCount), int(most)


def _parent(nvml: Any, uuid: str) -> str:
    if not uuid.startswith("MIG-"):
        return uuid
    instance = nvml.nvmlDeviceGetHandleByUUID(uuid)
    return str(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance)))


def _look(nvml: Any, uuid: str) -> GpuUse:
    use = GpuUse(uuid)
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        use = replace(use, memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).used))
    except nvml.NVMLError as error:
        gone = error.value in LOST or error.value == NOT_FOUND
        return replace(use, lost=f"NVML: {error}" if gone else None)
    board = ask(nvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle) if uuid.startswith("MIG-") else handle
    rates = ask(nvml, "nvmlDeviceGetUtilizationRates", handle)
    return replace(
        use,
        processes=_processes(nvml, handle),
        utilisation_percent=None if rates is None else float(rates.gpu),
        celsius=_float(ask(nvml, "nvmlDeviceGetTemperature", board, nvml.NVML_TEMPERATURE_GPU)),
    )


def _processes(nvml: Any, handle: Any) -> tuple[GpuProcess, ...] | None:
    found = ask(nvml, "nvmlDeviceGetComputeRunningProcesses", handle)
    return None if found is None else tuple(GpuProcess(int(one.pid), one.usedGpuMemory) for one in found)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
