"""The part `cost`: CPU time and memory of the recorder with eight GPUs at 20 Hz."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.cluster.nvml_simulated.build import simulated_nvml
from tests.cluster.nvml_simulated.record import Recording, tree

GPUS, SETTLE_S, SECONDS = 8, 8.0, 40.0
BARE = """
import ctypes, json, time
lib = ctypes.CDLL("libnvidia-ml.so.1")
class Value(ctypes.Structure):
    _fields_ = [("field", ctypes.c_uint), ("scope", ctypes.c_uint), ("stamp", ctypes.c_longlong),
                ("latency", ctypes.c_longlong), ("type", ctypes.c_uint), ("returned", ctypes.c_uint),
                ("value", ctypes.c_ulonglong)]
lib.nvmlInit_v2()
handle = ctypes.c_void_p()
lib.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle))
values = (Value * 3)(*[Value(field) for field in (83, 186, 185)])
def spent(call, *args, n=20000):
    began = time.thread_time()
    for _ in range(n):
        call(*args)
    return (time.thread_time() - began) / n
found = [spent(lib.nvmlDeviceGetFieldValues, handle, 3, values) - spent(lib.nvmlInit_v2) for _ in range(5)]
print(json.dumps(sorted(found)[2]))
"""
"""CPU seconds of one call inside the library: a call through ctypes less one that returns at once."""


def run() -> dict[str, Any]:
    """Watch the recorder's processes for a while; what NVML itself costs is measured apart and taken off."""
    with tempfile.TemporaryDirectory() as folder:
        env = simulated_nvml(Path(folder), gpus=GPUS)
        env["XDG_CACHE_HOME"] = folder
        bare = subprocess.run([sys.executable, "-c", BARE], env=env, capture_output=True, text=True, check=True)
        call_s = max(0.0, json.loads(bare.stdout))
        with Recording(env, source="nvml") as recording:
            time.sleep(SETTLE_S)
            pids = tree(recording.pid)
            before = {pid: _cpu_s(pid) for pid in pids}
            time.sleep(SECONDS)
            processes = [_process(pid, before[pid]) for pid in pids]
    nvml_pct = 100 * call_s * GPUS * 20
    total_pct = sum(process["cpu_pct"] for process in processes)
    sampling = processes[-1] if len(processes) > 1 else processes[0]
    for process in processes:
        print(process)
    rss_mb = sampling["rss_mb"]
    return {
        "gpus": GPUS,
        "hertz": 20,
        "seconds": SECONDS,
        "processes": processes,
        "nvml_pct": nvml_pct,
        "aims": [
            {
                "aim": "share of a core beyond NVML's own calls ≤ 0.5 %",
                "value": total_pct - nvml_pct,
                "met": total_pct - nvml_pct <= 0.5,
            },
            {"aim": "RSS of the sampling process ≤ 30 MB", "value": rss_mb, "met": rss_mb <= 30},
        ],
    }


def _cpu_s(pid: int) -> float:
    """CPU seconds of all threads, as the scheduler counts them in nanoseconds: ticks of 10 ms would be too coarse."""
    times = [(task / "schedstat").read_text().split()[0] for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(map(int, times)) / 1e9


def _process(pid: int, before_s: float) -> dict[str, Any]:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    module = words[words.index("-m") + 1] if "-m" in words else Path(words[1]).name
    return {
        "command": module,
        "cpu_pct": 100 * (_cpu_s(pid) - before_s) / SECONDS,
        "rss_mb": int(status["VmRSS"].split()[0]) / 1024,
        "private_mb": int(status["RssAnon"].split()[0]) / 1024,
    }
