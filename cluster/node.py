"""The hardware of this node as it can be read: processor, memory, limits, disks, and GPUs through NVML.

Everything that cannot be read is null. Nothing here measures power; see `joulegrid.cluster.power`.
The functions that read `/proc` and `/sys` take the root of the tree, so that they can be shown another machine's.
"""

from __future__ import annotations

import os
import resource
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

ROOT = Path("/")


class Hardware(BaseModel):
    """A frozen part of an environment record."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Cpu(Hardware):
    """The processors of a node."""

    model: str | None
    logical_cores: int | None
    physical_cores: int | None
    sockets: int | None
    numa_nodes: int | None
    governor: str | None
    """Frequency governor of core 0, e.g. `performance`; null where the kernel or hypervisor hides it."""
    max_mhz: float | None
    hypervisor: bool | None
    """Whether the processor says that it is a virtual one; null where it cannot say (not x86)."""


class Gpu(Hardware):
    """One GPU as NVML describes it."""

    uuid: str | None
    name: str | None
    memory_bytes: int | None
    driver: str | None
    vbios: str | None
    power_limit_w: float | None
    """The limit in force."""
    power_limit_default_w: float | None
    power_limit_min_w: float | None
    power_limit_max_w: float | None
    persistence: bool | None
    ecc: bool | None
    mig: bool | None
    """Whether the GPU is in MIG mode; null where it has none."""
    compute_capability: str | None
    """`major.minor`, e.g. `9.0`."""
    pci: str | None
    sm_clock_max_mhz: int | None
    memory_clock_max_mhz: int | None


class Limits(Hardware):
    """What this process may use of the node."""

    cgroup: int | None
    """Version of the cgroup hierarchy that was read: 1 or 2."""
    cpu_quota_cores: float | None
    """CPU seconds a second that the cgroup allows; null means no limit."""
    memory_limit_bytes: int | None
    """Memory that the cgroup allows; null means no limit."""
    usable_cores: int
    """Cores in the process's affinity mask."""
    open_files: int
    """Soft limit on open files."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """What NVML answered: the GPUs, or why there are none."""

    gpus: list[Gpu] = field(default_factory=list)
    note: str | None = None
    cuda_driver: str | None = None
    """The newest CUDA version that the driver supports, e.g. `12.8`."""


def read_text(path: Path) -> str | None:
    """Contents of a small file of `/proc` or `/sys`, stripped; `None` where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def cpu(root: Path = ROOT) -> Cpu:
    """Describe the processors from `/proc/cpuinfo` and `/sys`."""
    blocks = [_fields(block) for block in (read_text(root / "proc/cpuinfo") or "").split("\n\n") if block.strip()]
    first = blocks[0] if blocks else {}
    cores = {(block["physical id"], block["core id"]) for block in blocks if {"physical id", "core id"} <= block.keys()}
    system = root / "sys/devices/system"
    khz = read_text(system / "cpu/cpu0/cpufreq/cpuinfo_max_freq")
    return Cpu(
        model=first.get("model name") or first.get("cpu model"),
        logical_cores=sum("processor" in block for block in blocks) or None,
        physical_cores=len(cores) or None,
        sockets=len({socket for socket, _ in cores}) or None,
        numa_nodes=len(list((system / "node").glob("node[0-9]*"))) or None,
        governor=read_text(system / "cpu/cpu0/cpufreq/scaling_governor"),
        max_mhz=int(khz) / 1000 if khz and khz.isdigit() else None,
        hypervisor="hypervisor" in first["flags"].split() if "flags" in first else None,
    )


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in block.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def memory_bytes() -> int:
    """Physical memory of the node in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def clock_source(root: Path = ROOT) -> str | None:
    """What the kernel's clock runs on, e.g. `tsc`."""
    return read_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")


def limits(root: Path = ROOT) -> Limits:
    """What cgroups (version 1 or 2), the affinity mask and `ulimit` leave of the node to this process."""
    groups = _cgroups(root)
    version = (2 if "" in groups else 1) if groups else None
    if version == 2:
        quotas = [_quota_v2(text) for text in _each(groups[""], "cpu.max")]
        memories = [int(text) for text in _each(groups[""], "memory.max") if text.isdigit()]
    else:
        quotas = [_quota_v1(folder) for folder in groups.get("cpu", [])]
        memories = [int(text) for text in _each(groups.get("memory", []), "memory.limit_in_bytes") if text.isdigit()]
    return Limits(
        cgroup=version,
        cpu_quota_cores=min((quota for quota in quotas if quota is not None), default=None),
        # Version 1 writes "no limit" as a number near 2**63.
        memory_limit_bytes=min((size for size in memories if size < 1 << 60), default=None),
        usable_cores=len(os.sched_getaffinity(0)),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )


def _cgroups(root: Path) -> dict[str, list[Path]]:
    """Controller → folders of this process's group and its ancestors; the key `""` is the version 2 hierarchy."""
    mount = root / "sys/fs/cgroup"
    found: dict[str, list[Path]] = {}
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            top = mount / name
            if top.is_dir() and (name or (mount / "cgroup.controllers").exists()):
                inside = top / path.lstrip("/")
                found[name] = [folder for folder in (inside, *inside.parents) if folder.is_relative_to(top)]
    return found


def _each(folders: list[Path], name: str) -> list[str]:
    return [text for folder in folders if (text := read_text(folder / name)) is not None]


def _quota_v2(text: str) -> float | None:
    quota, _, period = text.partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = read_text(folder / "cpu.cfs_quota_us"), read_text(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota and period and quota.isdigit() and period.isdigit() else None


def free_bytes(path: Path) -> int | None:
    """Free space where `path` is, or would be made; `None` where that cannot be asked."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def gpus() -> Gpus:
    """Ask NVML for every GPU of the node; where that fails, `note` says why and the list is empty."""
    try:
        import pynvml
    except ImportError:
        return Gpus(note="the Python package nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Gpus(note=f"NVML does not answer: {error}")
    try:
        return _survey(pynvml)
    finally:
        pynvml.nvmlShutdown()


def ask(nvml: Any, function: str, *arguments: Any) -> Any:
    """Call a function of NVML; `None` where the library, the driver or the GPU does not offer it."""
    call = getattr(nvml, function, None)
    if call is None:
        return None
    try:
        answer = call(*arguments)
    except nvml.NVMLError:
        return None
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer


def _survey(nvml: Any) -> Gpus:
    driver = ask(nvml, "nvmlSystemGetDriverVersion")
    version = ask(nvml, "nvmlSystemGetCudaDriverVersion_v2")
    handles = [ask(nvml, "nvmlDeviceGetHandleByIndex", index) for index in range(ask(nvml, "nvmlDeviceGetCount") or 0)]
    return Gpus(
        gpus=[_gpu(nvml, handle, driver) for handle in handles if handle is not None],
        note=None if any(handle is not None for handle in handles) else "NVML answers, but this process sees no GPU",
        cuda_driver=f"{version // 1000}.{version % 1000 // 10}" if version else None,
    )


def _gpu(nvml: Any, handle: Any, driver: str | None) -> Gpu:
    memory = ask(nvml, "nvmlDeviceGetMemoryInfo", handle)
    capability = ask(nvml, "nvmlDeviceGetCudaComputeCapability", handle)
    lowest, highest = ask(nvml, "nvmlDeviceGetPowerManagementLimitConstraints", handle) or (None, None)
    pci = getattr(ask(nvml, "nvmlDeviceGetPciInfo", handle), "busId", None)
    return Gpu(
        uuid=ask(nvml, "nvmlDeviceGetUUID", handle),
        name=ask(nvml, "nvmlDeviceGetName", handle),
        memory_bytes=memory.total if memory else None,
        driver=driver,
        vbios=ask(nvml, "nvmlDeviceGetVbiosVersion", handle),
        power_limit_w=_watts(ask(nvml, "nvmlDeviceGetEnforcedPowerLimit", handle)),
        power_limit_default_w=_watts(ask(nvml, "nvmlDeviceGetPowerManagementDefaultLimit", handle)),
        power_limit_min_w=_watts(lowest),
        power_limit_max_w=_watts(highest),
        persistence=_switch(ask(nvml, "nvmlDeviceGetPersistenceMode", handle)),
        ecc=_switch(ask(nvml, "nvmlDeviceGetEccMode", handle)),
        mig=_switch(ask(nvml, "nvmlDeviceGetMigMode", handle)),
        compute_capability=".".join(map(str, capability)) if capability else None,
        pci=pci.decode(errors="replace") if isinstance(pci, bytes) else pci,
        sm_clock_max_mhz=ask(nvml, "nvmlDeviceGetMaxClockInfo", handle, 1),  # NVML_CLOCK_SM
        memory_clock_max_mhz=ask(nvml, "nvmlDeviceGetMaxClockInfo", handle, 2),  # NVML_CLOCK_MEM
    )


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _switch(answer: Any) -> bool | None:
    """NVML's modes come as a number, or as a pair [now, after the next reset]."""
    now = answer[0] if isinstance(answer, list | tuple) else answer
    return None if now is None else bool(now)
