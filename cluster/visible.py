"""From a CUDA_VISIBLE_DEVICES value to the NVML UUIDs of the GPUs that it names."""

from __future__ import annotations

from joulegrid.cluster.node import gpus
from joulegrid.errors import PreFlightError


def visible_uuids(visible: str | None) -> tuple[str, ...]:
    """Return the UUIDs in the order of the value: indices (NVML's, by PCI bus), UUIDs or their prefixes.

    `None` means every GPU of the node, an empty value none.

    Raises:
        PreFlightError: when a name fits no GPU, or NVML cannot be asked.
    """
    if visible is not None and not visible.strip():
        return ()
    known = gpus()
    uuids = [gpu.uuid for gpu in known.gpus if gpu.uuid is not None]
    if visible is None:
        return tuple(uuids)
    return tuple(_uuid(token.strip(), uuids, known.note) for token in visible.split(","))


def memory_used(uuids: tuple[str, ...]) -> int | None:
    """Bytes of device memory in use on these GPUs together; `None` without GPUs or where NVML does not say."""
    if not uuids:
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
        return sum(int(pynvml.nvmlDeviceGetMemoryInfo(handle).used) for handle in handles)
    except pynvml.NVMLError:
        return None


def _uuid(token: str, uuids: list[str], note: str | None) -> str:
    if token.isdigit() and int(token) < len(uuids):
        return uuids[int(token)]
    fitting = [uuid for uuid in uuids if token and uuid.startswith(token)]
    if len(fitting) == 1:
        return fitting[0]
    if token.startswith("MIG-"):
        return token
    has = ", ".join(uuids) or note or "no GPU"
    raise PreFlightError(f"CUDA_VISIBLE_DEVICES: {token!r} names no GPU of this node; it has {has}")
