"""The roof of a device as two plain probes find it: how fast it copies memory, how fast it multiplies matrices.

For exploring and for scores. It is a measured ceiling, not a physical one: what rejects a claim as too fast is the
judge's floor, not this.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from joulegrid.kernels.device import synchronize, torch_dtype

PROBE_S = 0.15
"""Each probe repeats for so long and keeps its fastest repetition."""
COPY_BYTES = {"cpu": 2**27, "cuda": 2**31}
"""Larger than the last cache of current processors, and than the 60 MB of a data-centre GPU."""
GEMM_N = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True, slots=True)
class Roof:
    """What a device did at best in the probes."""

    bytes_per_s: float
    """Read and written bytes of a copy."""
    flops_per_s: float
    """2·n³ of a square product in the dtype."""

    def seconds(self, n_bytes: int, flops: int) -> float:
        """Return the least time for this much traffic and arithmetic (Williams et al., CACM 52, 2009)."""
        return max(n_bytes / self.bytes_per_s, flops / self.flops_per_s)

    def bound(self, n_bytes: int, flops: int) -> str:
        """Return which of the two limits: `memory` or `compute`."""
        return "memory" if n_bytes / self.bytes_per_s >= flops / self.flops_per_s else "compute"


@cache
def measured_roof(device: str, dtype: str) -> Roof:
    """Probe the device once a process, about half a second; reduced-precision products (TF32) stay as they are set."""
    import torch

    source = torch.ones(COPY_BYTES[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_s = _fastest(lambda: target.copy_(source), device)
    n = GEMM_N[device]
    matrix = torch.ones(n, n, dtype=torch_dtype(dtype), device=device)
    product_s = _fastest(lambda: matrix @ matrix, device)
    return Roof(2 * COPY_BYTES[device] / copy_s, 2 * n**3 / product_s)


def _fastest(run: Callable[[], Any], device: str) -> float:
    run()
    best, end = float("inf"), time.perf_counter() + PROBE_S
    while True:
        synchronize(device)
        started = time.perf_counter()
        run()
        synchronize(device)
        best = min(best, time.perf_counter() - started)
        if time.perf_counter() > end:
            return best
