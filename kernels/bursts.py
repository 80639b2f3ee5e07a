"""Equal bursts of a plain load on each GPU, to calibrate its power sensor with. Not a benchmark of the GPU."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

BURST_N = 8192
BURST_S = 0.05
"""Long enough for the first milliseconds, in which clocks rise, to be a small part of it."""
TRIED = 20


def burst_loads(uuids: Collection[str]) -> dict[str, Callable[[int], None]]:
    """By UUID, what computes equal bursts on those of the GPUs that torch sees; empty without torch or CUDA.

    Nothing is computed on other GPUs: they may be measured.
    """
    try:
        import torch
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    seen = {f"GPU-{torch.cuda.get_device_properties(i).uuid}": i for i in range(torch.cuda.device_count())}
    return {uuid: _bursts(i) for uuid, i in seen.items() if uuid in uuids}


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
