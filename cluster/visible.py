"""From a CUDA_VISIBLE_DEVICES value to the NVML UUIDs of the GPUs and MIG instances that it names.

CUDA itself ends the list at the first name that fits nothing, and shows no GPU at all where one is named twice. A lane
with silently fewer GPUs would measure something else, so both are errors here; a negative number is the usual way to
say "no more", and ends the list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from joulegrid.cluster.node import ask
from joulegrid.errors import PreFlightError

_NUMBER = re.compile(r"[-+]?\d+")
_LEGACY = re.compile(r"MIG-(GPU-[0-9a-fA-F-]+)/(\d+)/(\d+)")
NO_DEVICES = "NoDevFiles"
"""What some launchers write to hide every GPU."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A MIG instance of a GPU."""

    uuid: str
    gpu_instance: int | None
    compute_instance: int | None


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU of this node, in NVML's order (by PCI bus)."""

    uuid: str
    mig: bool
    instances: tuple[Instance, ...] = ()


def visible_uuids(visible: str | None, needed: int | None = None) -> tuple[str, ...]:
    """Return the UUIDs in the order of the value.

    It may hold indices (NVML's, by PCI bus), UUIDs of GPUs (`GPU-…`) or MIG instances (`MIG-…`, also the older
    `MIG-GPU-…/gi/ci`), or beginnings of them. `None` means every GPU of the node, and every instance of those in MIG
    mode; an empty value, `NoDevFiles` or `-1` none. With `needed` exactly the first so many are returned.

    Raises:
        PreFlightError: when a name fits nothing here, or more than one thing; when one is named twice; when NVML cannot
            be asked; when there are fewer than `needed`.
    """
    if visible is not None and not visible.strip():
        found: tuple[str, ...] = ()
    else:
        devices, note = _devices()
        found = named(visible, devices, note)
    if needed is None:
        return found
    if len(found) < needed:
        raise PreFlightError(f"CUDA_VISIBLE_DEVICES={visible!r} names {len(found)} GPUs, this lane needs {needed}")
    return _one_instance(found[:needed])


def named(visible: str | None, devices: list[Device], note: str | None) -> tuple[str, ...]:
    """Return the UUIDs that a value names among these devices; `note` says why there are none."""
    if visible is None:
        return tuple(uuid for device in devices for uuid in _uuids(device))
    found: list[str] = []
    for token in (token.strip() for token in visible.split(",")):
        if token == NO_DEVICES or (_NUMBER.fullmatch(token) and int(token) < 0):
            break
        uuid = _uuid(token, devices, note)
        if uuid in found:
            raise PreFlightError(f"CUDA_VISIBLE_DEVICES={visible!r} names {uuid} twice; CUDA would show no GPU at all")
        found.append(uuid)
    return tuple(found)


def _one_instance(uuids: tuple[str, ...]) -> tuple[str, ...]:
    if len(uuids) > 1 and any(uuid.startswith("MIG-") for uuid in uuids):
        raise PreFlightError(
            f"resources.gpus: {len(uuids)}, but {', '.join(uuids)} are MIG instances, and CUDA shows a process one of "
            "them only; ask for one GPU a task"
        )
    return uuids


def _uuid(token: str, devices: list[Device], note: str | None) -> str:
    if _NUMBER.fullmatch(token) and int(token) < len(devices):
        return _whole(devices[int(token)], token)
    if legacy := _LEGACY.fullmatch(token):
        return _legacy(token, legacy, devices, note)
    known = [device.uuid for device in devices] + [one.uuid for device in devices for one in device.instances]
    fitting = [uuid for uuid in known if len(token) > len("GPU-") and uuid.startswith(token)]
    if token in known or len(fitting) == 1:
        uuid = token if token in known else fitting[0]
        return _whole(next((one for one in devices if one.uuid == uuid), Device(uuid, mig=False)), token)
    if fitting:
        raise PreFlightError(f"CUDA_VISIBLE_DEVICES: {token!r} fits {', '.join(fitting)}; write more of the UUID")
    raise _unknown(token, devices, note)


def _whole(device: Device, token: str) -> str:
    """Return what a GPU's own name stands for; of one in MIG mode CUDA shows a single instance."""
    if not device.mig:
        return device.uuid
    if len(device.instances) == 1:
        return device.instances[0].uuid
    has = ", ".join(one.uuid for one in device.instances) or "none"
    raise PreFlightError(
        f"CUDA_VISIBLE_DEVICES: {token!r} is a GPU in MIG mode ({device.uuid}); name one of its instances: {has}"
    )


def _legacy(token: str, legacy: re.Match[str], devices: list[Device], note: str | None) -> str:
    gpu, gpu_instance, compute_instance = legacy[1], int(legacy[2]), int(legacy[3])
    for device in devices:
        for one in device.instances:
            numbers = (one.gpu_instance, one.compute_instance)
            if one.uuid == token or (device.uuid == gpu and numbers == (gpu_instance, compute_instance)):
                return one.uuid
    raise _unknown(token, devices, note)


def _unknown(token: str, devices: list[Device], note: str | None) -> PreFlightError:
    has = ", ".join(uuid for device in devices for uuid in (device.uuid, *(one.uuid for one in device.instances)))
    return PreFlightError(
        f"CUDA_VISIBLE_DEVICES: {token!r} names no GPU of this node; it has {has or _none(note)}. "
        "Correct it: CUDA would end its list there"
    )


def _none(note: str | None) -> str:
    return f"none that is seen ({note})" if note else "no GPU"


def _uuids(device: Device) -> tuple[str, ...]:
    return tuple(one.uuid for one in device.instances) if device.mig else (device.uuid,)


def _devices() -> tuple[list[Device], str | None]:
    """Ask NVML; the second is why there is nothing."""
    try:
        import pynvml
    except ImportError:
        return [], "the Python package nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], f"NVML does not answer: {error}"
    try:
        count = ask(pynvml, "nvmlDeviceGetCount") or 0
        handles = [ask(pynvml, "nvmlDeviceGetHandleByIndex", index) for index in range(count)]
        return [_device(pynvml, handle, index) for index, handle in enumerate(handles)], None
    finally:
        pynvml.nvmlShutdown()


def _device(nvml: Any, handle: Any, index: int) -> Device:
    """A GPU that does not answer keeps its place, so that the others keep their numbers."""
    if handle is None:
        return Device(f"(GPU {index} does not answer)", mig=False)
    mode = ask(nvml, "nvmlDeviceGetMigMode", handle)
    count = ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle) if mode and mode[0] else 0
    found = [ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, number) for number in range(count or 0)]
    instances = tuple(_instance(nvml, instance) for instance in found if instance is not None)
    return Device(str(ask(nvml, "nvmlDeviceGetUUID", handle)), bool(mode and mode[0]), instances)


def _instance(nvml: Any, handle: Any) -> Instance:
    return Instance(
        str(ask(nvml, "nvmlDeviceGetUUID", handle)),
        ask(nvml, "nvmlDeviceGetGpuInstanceId", handle),
        ask(nvml, "nvmlDeviceGetComputeInstanceId", handle),
    )
