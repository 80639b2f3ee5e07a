"""Build the simulated NVML library and hold its control file.

`simulated_nvml(tmp_path, gpus=2)` gives the environment of a subprocess in which the real `pynvml` loads the simulated
library; `Control(env)` switches loads and faults on and off meanwhile, and knows the true energy of every window. A
GPU's power is a list of steps on `time.monotonic_ns()`, which may lie in the future. What such a process prints is a
simulation: only the test knows, so the test must say so.
"""

from __future__ import annotations

import atexit
import ctypes
import mmap
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from joulegrid.cluster.gpu_lock import FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE = Path(__file__).with_name("nvml_simulated.c")
MAX_GPUS, MAX_STEPS, MAX_PROCESSES = 8, 512, 8
COUNTER_UNSUPPORTED, COUNTER_ZERO, POWER_UNSUPPORTED, PROCESSES_UNSUPPORTED = 1, 2, 4, 8
SESSION = f"51{os.getpid():06x}"[:8]
"""First part of all UUIDs: GPUs are locked on their node, and two test sessions may run on one."""
MEMORY_BYTES = 80 * 2**30


class Step(ctypes.Structure):
    _fields_ = [("t_ns", ctypes.c_int64), ("power_w", ctypes.c_double)]


class Gpu(ctypes.Structure):
    """The layout of `gpu_t` in nvml_simulated.c. Times are monotonic nanoseconds; 0 is never."""

    _fields_ = [
        ("uuid", ctypes.c_char * 64),
        ("faults", ctypes.c_int64),
        ("lost_ns", ctypes.c_int64),
        ("stall_ns", ctypes.c_int64),
        ("reset_ns", ctypes.c_int64),
        ("counter_start_j", ctypes.c_double),
        ("throttle_reasons", ctypes.c_uint64),
        ("memory_total", ctypes.c_uint64),
        ("memory_used", ctypes.c_uint64),
        ("n_processes", ctypes.c_int64),
        ("pids", ctypes.c_int64 * MAX_PROCESSES),
        ("process_memory", ctypes.c_int64 * MAX_PROCESSES),
        ("temperature_c", ctypes.c_int64),
        ("utilisation", ctypes.c_int64),
        ("parent", ctypes.c_int64),
        ("gpu_instance", ctypes.c_int64),
        ("compute_instance", ctypes.c_int64),
        ("n_steps", ctypes.c_int64),
        ("steps", Step * MAX_STEPS),
    ]


class Layout(ctypes.Structure):
    _fields_ = [
        ("n_gpus", ctypes.c_int64),
        ("n_mig", ctypes.c_int64),
        ("tick_ns", ctypes.c_int64),
        ("phase_ns", ctypes.c_int64),
        ("window_ns", ctypes.c_int64),
        ("origin_ns", ctypes.c_int64),
        ("gpus", Gpu * MAX_GPUS),
    ]


def uuid_of(index: int) -> str:
    """The UUID of a simulated GPU."""
    return f"GPU-{SESSION}-000{index}-4000-8000-000000000000"


def mig_uuid_of(index: int) -> str:
    """The UUID of a simulated MIG instance, counted over all GPUs."""
    return f"MIG-{SESSION}-000{index}-5000-8000-000000000000"


def simulated_nvml(
    folder: Path,
    gpus: int = 2,
    *,
    mig: tuple[int, ...] = (),
    idle_w: float = 70.0,
    tick_ms: float = 100.0,
    phase_ms: float = 37.0,
) -> dict[str, str]:
    """Build the library and its control file in `folder`; give a whole environment for a subprocess.

    `mig` names, for each MIG instance, the GPU that it is a part of; its instance ids are (number + 1, 0).
    Instant power covers the last 25 ms before each tick, as measured on boards of the A100 and H100.
    """
    place = folder / "nvml_simulated"
    place.mkdir()
    atexit.register(_remove_locks)
    _compile(place / "libnvidia-ml.so.1")
    layout = Layout(
        n_gpus=gpus,
        n_mig=len(mig),
        tick_ns=round(tick_ms * 1e6),
        phase_ns=round(phase_ms * 1e6),
        window_ns=25_000_000,
        origin_ns=time.monotonic_ns() - 10_000_000_000,
    )
    for index in range(gpus + len(mig)):
        gpu = layout.gpus[index]
        gpu.uuid = (uuid_of(index) if index < gpus else mig_uuid_of(index - gpus)).encode()
        gpu.temperature_c, gpu.utilisation = 40, -1
        gpu.counter_start_j = 1000.0 * (index + 1)
        gpu.memory_total = MEMORY_BYTES
        gpu.n_steps = 1
        gpu.steps[0] = Step(layout.origin_ns, idle_w)
    for number, parent in enumerate(mig):
        layout.gpus[gpus + number].parent = parent + 1
        layout.gpus[gpus + number].gpu_instance = number + 1
    control = place / "control"
    control.write_bytes(bytes(layout))
    libraries = os.pathsep.join(filter(None, [str(place), os.environ.get("LD_LIBRARY_PATH")]))
    return {**os.environ, "LD_LIBRARY_PATH": libraries, "SIMULATED_NVML_FILE": str(control)}


class Control:
    """A running simulation, seen from the test; usable in a `with`.

    The mapping ends with the last object that looks into it, so a `Gpu` stays valid after the `with`.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        with Path(env["SIMULATED_NVML_FILE"]).open("r+b") as file:
            self._layout = Layout.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(Layout)))

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        del self._layout

    def gpu(self, index: int) -> Gpu:
        """The state of one GPU; what is set on it is seen by the library at once."""
        gpu: Gpu = self._layout.gpus[index]
        return gpu

    def occupy(self, index: int, pids: list[int], bytes_each: int = 2**30) -> None:
        """Let these processes, and no others, compute on a GPU or MIG instance."""
        gpu = self.gpu(index)
        gpu.n_processes = 0
        for number, pid in enumerate(pids):
            gpu.pids[number], gpu.process_memory[number] = pid, bytes_each
        gpu.memory_used = bytes_each * len(pids)
        gpu.n_processes = len(pids)

    def step(self, index: int, t_ns: int, power_w: float) -> None:
        """Let a GPU draw `power_w` from `t_ns` on; steps are given in order of time."""
        gpu = self.gpu(index)
        assert t_ns > gpu.steps[gpu.n_steps - 1].t_ns, "steps are given in order of time"
        gpu.steps[gpu.n_steps] = Step(t_ns, power_w)
        gpu.n_steps += 1  # last: the library must not see a half-written step

    def energy_j(self, index: int, t0_ns: int, t1_ns: int) -> float:
        """The true energy of a window, exact."""
        gpu = self.gpu(index)
        steps = [(gpu.steps[i].t_ns, gpu.steps[i].power_w) for i in range(gpu.n_steps)]
        ends = [t_ns for t_ns, _ in steps[1:]] + [t1_ns]
        spans = ((max(start, t0_ns), min(end, t1_ns), watts) for (start, watts), end in zip(steps, ends, strict=True))
        return float(sum(watts * (end - start) / 1e9 for start, end, watts in spans if end > start))


def _remove_locks() -> None:
    """Remove the locks of GPUs that no other session will ever have."""
    for lock in FOLDER.glob(f"joulegrid-*-{SESSION}-*.lock"):
        lock.unlink(missing_ok=True)


def _compile(library: Path) -> None:
    gcc = shutil.which("gcc")
    assert gcc, "gcc is missing: the simulated NVML library is built from C; install it (Debian: apt-get install gcc)"
    command = [gcc, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(library), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"gcc could not build the simulated NVML library:\n{done.stderr}"
