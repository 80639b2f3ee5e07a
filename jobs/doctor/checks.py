"""What `joulegrid doctor` looks at on this machine: software, processor, memory, disks, GPUs and power.

Each check reads and reports; none changes anything, and none imports Ray or torch: versions come from the installed
packages' metadata.
"""

from __future__ import annotations

import os
import platform
import tempfile
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

from joulegrid import version as release
from joulegrid.cluster import node
from joulegrid.cluster.power.sensors.board import sources_of
from joulegrid.cluster.power.sensors.nvml import close_sensors, open_sensors
from joulegrid.cluster.power.sensors.rapl import POWERCAP, open_domains
from joulegrid.errors import PreFlightError
from joulegrid.jobs.doctor.finding import Finding, error, missing, ok, warn

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Source

GIB = 2**30
_FEW_FILES = 4096
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h


LIBRARIES = (
    ("torch", "the workload `inference` needs", "pytorch"),
    ("transformers", "the workload `inference` needs", "pytorch"),
    ("optuna", "studies with a section `search` need", "search"),
    ("matplotlib", "figures in a report need", "figures"),
)
"""Distribution, who needs it, and the extra that installs it."""


def software() -> list[Finding]:
    """Python, Joulegrid, the libraries of its extras, and the two packages that both call themselves `pynvml`."""
    package = Path(release.__file__).parent
    return [
        ok("python", f"{platform.python_version()} on {platform.platform(terse=True)}"),
        ok("joulegrid", f"{release.__version__} in {package}"),
        *(_library(*one) for one in LIBRARIES),
        nvml_binding(),
    ]


def version(distribution: str) -> str | None:
    """Version of an installed package; `None` where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _library(name: str, what_for: str, extra: str) -> Finding:
    found = version(name)
    if found is None or util.find_spec(name) is None:
        return missing(name, f"not installed; {what_for} it", f"pip install 'joulegrid[{extra}]'")
    return ok(name, found)


def nvml_binding() -> Finding:
    """Whether `import pynvml` gives NVIDIA's module, which is one file, and not the abandoned package's."""
    ours, other = version("nvidia-ml-py"), version("pynvml")
    clean = "pip uninstall -y pynvml && pip install --force-reinstall --no-deps nvidia-ml-py"
    if other and int(other.partition(".")[0]) < 12:
        return error("nvidia-ml-py", f"the abandoned package pynvml {other} overwrites NVIDIA's module", clean)
    if ours is None:
        return missing("nvidia-ml-py", "not installed", "pip install nvidia-ml-py")
    spec = util.find_spec("pynvml")
    if spec is None or Path(spec.origin or "").name != "pynvml.py":
        where = spec.origin if spec else "nowhere"
        return error("nvidia-ml-py", f"{ours}, but `import pynvml` finds {where}", clean)
    if other:
        return warn("nvidia-ml-py", f"{ours}; beside it lies the abandoned pynvml {other}", "pip uninstall pynvml")
    return ok("nvidia-ml-py", ours)


def machine(root: Path = node.ROOT) -> list[Finding]:
    """Processor, memory and what cgroups and `ulimit` leave of them, and whether other processes are visible."""
    limits = node.limits(root)
    return [_cpu(root, limits), _memory(limits), _open_files(limits), _processes()]


def _cpu(root: Path, limits: node.Limits) -> Finding:
    cpu = node.cpu(root)
    words = [cpu.model or "unknown model", f"{cpu.physical_cores or '?'} cores, {cpu.logical_cores or '?'} threads"]
    words += ["virtual machine"] if cpu.hypervisor else []
    words += [f"governor {cpu.governor}"] if cpu.governor else []
    words += [f"limited to {limits.cpu_quota_cores:g} cores"] if limits.cpu_quota_cores else []
    if cpu.governor not in (None, "performance"):
        return warn("cpu", ", ".join(words), "for steady times: sudo cpupower frequency-set -g performance")
    return ok("cpu", ", ".join(words))


def _memory(limits: node.Limits) -> Finding:
    total = node.memory_bytes()
    usable = min(total, limits.memory_limit_bytes or total)
    words = f"{total / GIB:.1f} GiB" + (f", limited to {usable / GIB:.1f} GiB" if usable < total else "")
    if usable < 4 * GIB:
        return warn("memory", words, "Ray and torch together need about 4 GiB; raise the container's limit")
    return ok("memory", words)


def _open_files(limits: node.Limits) -> Finding:
    if limits.open_files < _FEW_FILES:
        return warn("open files", f"at most {limits.open_files}", "for many workers: ulimit -n 65536")
    return ok("open files", f"at most {limits.open_files}")


def _processes() -> Finding:
    """In a PID namespace of its own, a process cannot name a stranger on its GPU or CPU."""
    name = "other processes"
    try:
        inode = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return warn(name, "unknown: /proc shows no namespaces", "mount /proc")
    if inode == _INITIAL_PID_NAMESPACE and Path("/proc/1/stat").exists():
        return ok(name, "all of the machine's are visible")
    remedy = "foreign load is seen but cannot be named; start the container with --pid=host (hostPID: true)"
    return warn(name, "only this container's or user's are visible", remedy)


def disks(results: Path | None) -> list[Finding]:
    """Free space for results (where they go to a folder), for Ray's shared memory and for temporary files."""
    places = [("results' disk", results, 5 * GIB)] if results else []
    places += [("shared memory", Path("/dev/shm"), 1 * GIB)]  # noqa: S108 - looked at, not written
    places += [("temporary files", Path(tempfile.gettempdir()), 2 * GIB)]
    return [_space(name, place, enough) for name, place, enough in places if place]


def _space(name: str, place: Path, enough: int) -> Finding:
    free = node.free_bytes(place)
    if free is None:
        return warn(name, f"{place}: free space unknown")
    words = f"{free / GIB:.1f} GiB free in {place}"
    if free < 64 * 2**20:
        return error(name, words, "free some space")
    return ok(name, words) if free >= enough else warn(name, words, f"{enough // GIB} GiB are comfortable")


def power(powercap: Path = POWERCAP) -> list[Finding]:
    """GPUs, RAPL, and which source `auto` takes from them, with what may then be said of its joules."""
    gpus, sources = _gpus()
    rapl, has_rapl = _rapl(powercap)
    return [*gpus, rapl, _chosen(sources, has_rapl)]


def _gpus() -> tuple[list[Finding], set[Source | None]]:
    try:
        sensors = open_sensors()
    except PreFlightError as trouble:
        return [warn("gpus", "none", _reason(trouble))], set()
    try:
        readable = {sensor.device: sources_of(sensor.read()) for sensor in sensors}
    finally:
        close_sensors()
    gpus = node.gpus().gpus
    best = {next(iter(readable.get(gpu.uuid or "", [])), None) for gpu in gpus}
    return [_gpu(index, gpu, readable.get(gpu.uuid or "", [])) for index, gpu in enumerate(gpus)], best


def _gpu(index: int, gpu: node.Gpu, sources: list[Source]) -> Finding:
    limit = f"limit {gpu.power_limit_w:g} of {gpu.power_limit_default_w or 0:g} W" if gpu.power_limit_w else "limit ?"
    memory = f"{gpu.memory_bytes / GIB:.0f} GiB" if gpu.memory_bytes else "memory ?"
    reads = f"energy counter {_yes('counter' in sources)}, instant power {_yes('instant_integral' in sources)}"
    words = f"{gpu.name} {memory}, driver {gpu.driver}, {limit}, {reads}, persistence {_yes(gpu.persistence)}"
    if gpu.mig:
        return warn(f"gpu {index}", f"{words}, MIG", "counters cover the whole board; for joules of one task leave MIG")
    if not sources:
        return warn(
            f"gpu {index}", words, "its energy stays null; the counter needs Volta or later and a recent driver"
        )
    if gpu.persistence is False:
        return warn(f"gpu {index}", words, "sudo nvidia-smi -pm 1 (else the driver unloads between tasks)")
    return ok(f"gpu {index}", words)


def _yes(answer: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[answer]


def _rapl(powercap: Path) -> tuple[Finding, bool]:
    try:
        domains = open_domains(powercap)
    except PreFlightError as trouble:
        present = any(powercap.glob("intel-rapl:*"))
        return warn("rapl", "there, but not readable" if present else "none", _reason(trouble)), False
    return ok("rapl", ", ".join(domain.device for domain in domains)), True


def _reason(trouble: PreFlightError) -> str:
    return str(trouble).removeprefix("power source nvml: ").removeprefix("power source rapl: ")


def _chosen(sources: set[Source | None], has_rapl: bool) -> Finding:
    cpu = "RAPL (measured)" if has_rapl else "CPU time × watts a core (modelled, with a wide interval)"
    words = {
        "counter": "NVML energy counter (measured)",
        "instant_integral": "integral of NVML instant power (measured)",
        None: "unknown, null",
    }
    gpu = " / ".join(sorted(words[source] for source in sources))
    value = f"GPU lanes: {gpu}; CPU lanes: {cpu}" if gpu else f"CPU lanes: {cpu}"
    if sources - {None} or (has_rapl and not sources):
        return ok("power source", value)
    remedy = "measured joules need a GPU that NVML can read, or readable RAPL"
    return warn("power source", value, remedy)


def pins() -> list[Finding]:
    """CPU affinity of this process, where it is narrower than the machine."""
    usable, online = len(os.sched_getaffinity(0)), os.cpu_count() or 0
    if usable >= online:
        return []
    return [warn("affinity", f"{usable} of {online} cores", "started under taskset, numactl or a batch system?")]
