"""The other readers, each in a process of its own beside ours: Zeus's monitor, and a poller of both NVML powers.

Run as `python -m benchmarks.energy.readers zeus` (windows as JSON on stdin) or `… poll` (polls until stdin closes).
"""

from __future__ import annotations

import heapq
import json
import subprocess
import sys
import threading
import time
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
S = 1_000_000_000
POLL_S = 0.05


class Reader:
    """A reader in a subprocess."""

    def __init__(self, env: Mapping[str, str], kind: str) -> None:
        command = [sys.executable, "-m", "benchmarks.energy.readers", kind]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, env={**env, "PYTHONPATH": str(ROOT)}, stdin=pipe, stdout=pipe, text=True
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n", f"the reader {kind} did not start; its stderr says why"

    def give(self, windows: Sequence[tuple[int, int, int, int]]) -> None:
        """Tell which windows there will be: (number, gpu, t0_ns, t1_ns)."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(windows) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Take what it found; it ends."""
        try:
            found, _ = self._process.communicate(timeout=60)
        finally:
            self._process.kill()
        return json.loads(found)


def zeus() -> None:
    """Begin and end each window with a `ZeusMonitor` of its GPU, as near to its edges as the machine lets us."""
    from zeus.monitor import ZeusMonitor

    monitors = {gpu: ZeusMonitor(gpu_indices=[gpu], cpu_indices=[]) for gpu in range(8)}
    print("ready", flush=True)
    windows = json.loads(sys.stdin.readline())
    events = [(t0_ns, number, gpu, True) for number, gpu, t0_ns, _ in windows]
    events += [(t1_ns, number, gpu, False) for number, gpu, _, t1_ns in windows]
    heapq.heapify(events)
    began: dict[int, int] = {}
    found = []
    while events:
        due_ns, number, gpu, begins = heapq.heappop(events)
        time.sleep(max(0, due_ns - time.monotonic_ns()) / S)
        at_ns = time.monotonic_ns()
        if begins:
            began[number] = at_ns
            monitors[gpu].begin_window(str(number), sync_execution=False)
        else:
            measured = monitors[gpu].end_window(str(number), sync_execution=False)
            found.append((number, began[number], at_ns, measured.gpu_energy[gpu]))
    print(json.dumps(found))


def poll() -> None:
    """Read both powers of all GPUs each 50 ms until stdin closes: `nvmlDeviceGetPowerUsage`, and field 186."""
    import pynvml

    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(gpu) for gpu in range(pynvml.nvmlDeviceGetCount())]
    ending = threading.Event()

    def await_end() -> None:
        sys.stdin.read()
        ending.set()

    threading.Thread(target=await_end, daemon=True).start()
    print("ready", flush=True)
    samples: list[list[tuple[int, float, float]]] = [[] for _ in handles]
    while not ending.wait(POLL_S):
        for gpu, handle in enumerate(handles):
            t_ns = time.monotonic_ns()
            average_w = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000
            instant_w = pynvml.nvmlDeviceGetFieldValues(handle, [186])[0].value.uiVal / 1000
            samples[gpu].append((t_ns, average_w, instant_w))
    print(json.dumps(samples))


def trapezoid(times_ns: Sequence[int], powers_w: Sequence[float], t0_ns: int, t1_ns: int) -> float:
    """Joules of a window by the trapezoid rule, with powers at the edges interpolated."""
    inside = slice(bisect_right(times_ns, t0_ns), bisect_left(times_ns, t1_ns))
    points = [(t0_ns, _between(times_ns, powers_w, t0_ns))]
    points += list(zip(times_ns[inside], powers_w[inside], strict=True))
    points.append((t1_ns, _between(times_ns, powers_w, t1_ns)))
    return sum((b - a) / S * (p + q) / 2 for (a, p), (b, q) in pairwise(points))


def _between(times_ns: Sequence[int], powers_w: Sequence[float], t_ns: int) -> float:
    after = min(max(1, bisect_right(times_ns, t_ns)), len(times_ns) - 1)
    share = (t_ns - times_ns[after - 1]) / (times_ns[after] - times_ns[after - 1])
    return powers_w[after - 1] + share * (powers_w[after] - powers_w[after - 1])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"zeus": zeus, "poll": poll}[sys.argv[1]]()
