"""Build the simulated NVML library and hold its control file.

`simulated_nvml(tmp_path, gpus=2)` gives the environment of a subprocess in which the real `pynvml` loads the simulated
library; `Control(env)` switches loads and faults on and off meanwhile, and knows the true energy of every window.
`simulated_nvml(tmp_path, boards=[Board(decay_ms=150.0), Board(lag_ms=80.0)])` says what each board's sensor is like. A
GPU's power is a list of pieces on `time.monotonic_ns()`, which may lie in the future. What such a process prints is a
simulation: only the test knows, so the test must say so.
"""

from __future__ import annotations

import atexit
import ctypes
import mmap
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from joulegrid.cluster.gpu_lock import FOLDER
from tests.cluster.nvml_simulated import truth
from tests.cluster.nvml_simulated.layout import (
    AVERAGE_UNSUPPORTED,
    COUNTER_INTEGRATES,
    COUNTER_SENSED_ONLY,
    COUNTER_UNSUPPORTED,
    COUNTER_ZERO,
    INSTANT_UNSUPPORTED,
    MAX_STEPS,
    POWER_UNSUPPORTED,
    PROCESSES_UNSUPPORTED,
    STAMP_MOVES,
    Condition,
    Gpu,
    Layout,
    Sensor,
)
from tests.cluster.nvml_simulated.loads import Hold

__all__ = [
    "AVERAGE_UNSUPPORTED",
    "COUNTER_SENSED_ONLY",
    "COUNTER_UNSUPPORTED",
    "COUNTER_ZERO",
    "INSTANT_UNSUPPORTED",
    "POWER_UNSUPPORTED",
    "PROCESSES_UNSUPPORTED",
    "Board",
    "Control",
    "Gpu",
    "mig_uuid_of",
    "simulated_nvml",
    "uuid_of",
]

SOURCES = tuple(Path(__file__).with_name(name) for name in ("nvml_simulated.c", "board.c"))
SESSION = f"51{os.getpid():06x}"[:8]
"""First part of all UUIDs: GPUs are locked on their node, and two test sessions may run on one."""
MEMORY_BYTES = 80 * 2**30
LIMIT_MW = 700_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What a simulated board and its sensor are like. The defaults are those measured on the A100 and H100.

    Two time constants look alike from outside: with `decay_ms` the true power falls slowly after a load, with `lag_ms`
    it falls at once and the published values follow slowly.
    """

    idle_w: float = 70.0
    tick_ms: float = 100.0
    """Between two updates of the counter."""
    phase_ms: float = 37.0
    jitter_ms: float = 0.0
    """Updates are early or late by up to this, less than half a tick."""
    power_tick_ms: float = 0.0
    """Between two updates of the powers; 0: together with the counter."""
    power_phase_ms: float = 0.0
    window_ms: float = 25.0
    """Instant power is the mean over this time before an update."""
    average_ms: float = 1000.0
    """The same of field 185 and `nvmlDeviceGetPowerUsage`; 0: instant, as before Ampere."""
    decay_ms: float = 0.0
    lag_ms: float = 0.0
    counter_mode: int = COUNTER_INTEGRATES
    """`COUNTER_SENSED_ONLY`: it adds sensed mean × tick, blind to the time between two sensing windows."""
    stamp_mode: int = STAMP_MOVES
    """What NVML's `timestamp` does: moves with the update, constant, zero, or the time of the call."""
    latency_us: int = 0
    counter_quantum_mj: int = 1
    power_quantum_mw: int = 1
    call_us: float = 0.0
    """CPU time of a call of the driver."""
    seed: int = 1
    """Of the jitter."""

    def sensor(self) -> Sensor:
        """The same for the control file."""
        names = ("tick", "phase", "jitter", "power_tick", "power_phase", "window", "average", "decay", "lag")
        times = {f"{name}_ns": round(getattr(self, f"{name}_ms") * 1e6) for name in names}
        same = ("counter_mode", "stamp_mode", "latency_us", "counter_quantum_mj", "power_quantum_mw", "seed")
        return Sensor(**times, **{name: getattr(self, name) for name in same}, call_ns=round(self.call_us * 1e3))


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
    boards: Sequence[Board] = (),
) -> dict[str, str]:
    """Build the library and its control file in `folder`; give a whole environment for a subprocess.

    `boards` describes each GPU; without it `gpus` equal ones are made from the three numbers. `mig` names, for each
    MIG instance, the GPU that it is a part of; its instance ids are (number + 1, 0).
    """
    place = folder / "nvml_simulated"
    place.mkdir()
    atexit.register(_remove_locks)
    shutil.copyfile(_library(), place / "libnvidia-ml.so.1")
    boards = boards or [Board(idle_w=idle_w, tick_ms=tick_ms, phase_ms=phase_ms)] * gpus
    control = place / "control"
    with control.open("w+b") as file:
        file.truncate(ctypes.sizeof(Layout))  # a sparse file: most of its pieces are never written
        layout = Layout.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(Layout)))
    layout.n_gpus, layout.n_mig, layout.origin_ns = len(boards), len(mig), time.monotonic_ns() - 10_000_000_000
    for index, board in enumerate([*boards, *(boards[parent] for parent in mig)]):
        uuid = uuid_of(index) if index < len(boards) else mig_uuid_of(index - len(boards))
        _furnish(layout.gpus[index], uuid, board, layout.origin_ns)
        layout.gpus[index].counter_start_j = 1000.0 * (index + 1)
    for number, parent in enumerate(mig):
        layout.gpus[len(boards) + number].parent = parent + 1
        layout.gpus[len(boards) + number].gpu_instance = number + 1
    libraries = os.pathsep.join(filter(None, [str(place), os.environ.get("LD_LIBRARY_PATH")]))
    cache = str(place / "cache")  # what is learnt of a board is kept by UUID, and those of two sessions may be equal
    return {
        **os.environ,
        "LD_LIBRARY_PATH": libraries,
        "SIMULATED_NVML_FILE": str(control),
        "XDG_CACHE_HOME": cache,
    }


def _furnish(gpu: Gpu, uuid: str, board: Board, origin_ns: int) -> None:
    gpu.uuid = uuid.encode()
    gpu.sensor = board.sensor()
    gpu.condition = Condition(
        persistence=1,
        ecc=1,
        sm_clock_mhz=1700,
        memory_clock_mhz=2600,
        max_sm_clock_mhz=1980,
        max_memory_clock_mhz=2600,
        min_limit_mw=200_000,
        max_limit_mw=LIMIT_MW,
        default_limit_mw=LIMIT_MW,
        limit_mw=LIMIT_MW,
        requested_limit_mw=LIMIT_MW,
        enforced_limit_mw=LIMIT_MW,
    )
    gpu.temperature_c, gpu.utilisation, gpu.memory_total = 40, -1, MEMORY_BYTES
    gpu.steps[0], gpu.n_steps = truth.first_piece(origin_ns, board.idle_w), 1


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

    def step(self, index: int, t_ns: int, power_w: float, slope_w_s: float = 0.0) -> None:
        """Let a GPU draw `power_w` from `t_ns` on; steps are given in order of time."""
        gpu = self.gpu(index)
        last = gpu.steps[gpu.n_steps - 1]
        assert t_ns > last.t_ns, "steps are given in order of time"
        assert gpu.n_steps < MAX_STEPS, "the control file has no room for more steps"
        gpu.steps[gpu.n_steps] = truth.following(gpu, last, t_ns, power_w, slope_w_s)
        gpu.n_steps += 1  # last: the library must not see a half-written step

    def play(self, index: int, t0_ns: int, load: Iterable[Hold], after_w: float) -> int:
        """Let a GPU draw the powers of `load` from `t0_ns` on and `after_w` afterwards; gives its end."""
        t_ns = t0_ns
        for hold in load:
            slope_w_s = 0.0 if hold.end_w is None else (hold.end_w - hold.power_w) / hold.seconds
            self.step(index, t_ns, hold.power_w, slope_w_s)
            t_ns += max(1, round(hold.seconds * 1e9))
        self.step(index, t_ns, after_w)
        return t_ns

    def energy_j(self, index: int, t0_ns: int, t1_ns: int) -> float:
        """The true energy of a window, exact."""
        return truth.energy_j(self.gpu(index), t0_ns, t1_ns)

    def power_w(self, index: int, t_ns: int) -> float:
        """The true power at an instant."""
        return truth.power_w(self.gpu(index), t_ns)


def _remove_locks() -> None:
    """Remove the locks of GPUs that no other session will ever have."""
    for lock in FOLDER.glob(f"joulegrid-*-{SESSION}-*.lock"):
        lock.unlink(missing_ok=True)


@cache
def _library() -> Path:
    """Compile the library, once for all tests of this process."""
    folder = Path(tempfile.mkdtemp(prefix="joulegrid-nvml-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / "libnvidia-ml.so.1"
    gcc = shutil.which("gcc")
    assert gcc, "gcc is missing: the simulated NVML library is built from C; install it (Debian: apt-get install gcc)"
    command = [
        gcc,
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        str(library),
        *map(str, SOURCES),
        "-lm",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"gcc could not build the simulated NVML library:\n{done.stderr}"
    return library
