"""Equal bursts of a plain load on each GPU, to calibrate its power sensor with. Not a benchmark of the GPU."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BURST_N = 8192
BURST_S = 0.05
"""Long enough for the first milliseconds, in which clocks rise, to be a small part of it."""
TRIED = 20


def burst_loads() -> dict[str, Callable[[int], None]]:
    """By UUID, what computes equal bursts on each GPU that torch sees; empty without torch or CUDA."""
    try:
        import torch
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    return {f"GPU-{torch.cuda.get_device_properties(i).uuid}": _bursts(i) for i in range(torch.cuda.device_count())}


def _bursts(index: int) -> Callable[[int], None]:
    import torch

    a = torch.randn(BURST_N, BURST_N, dtype=torch.float16, device=f"cuda:{index}")

    def run(products: int) -> None:
        for _ in range(products):
            torch.mm(a, a)
        torch.cuda.synchronize(index)

    run(1)  # the first one compiles and allocates
    began_s = time.perf_counter()
    run(TRIED)
    each = max(1, round(BURST_S * TRIED / (time.perf_counter() - began_s)))
    return lambda count: run(count * each)
