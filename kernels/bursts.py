"""Equal bursts of a plain load on each GPU, to calibrate its power sensor with. Not a benchmark of the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BURST_N = 8192
BURSTS = 6
"""Products of 8192 × 8192 matrices in half precision a burst: some 10 ms on a data-centre GPU."""


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

    def run(count: int) -> None:
        for _ in range(count * BURSTS):
            torch.mm(a, a)
        torch.cuda.synchronize(index)

    run(1)  # the first one compiles and allocates
    return run
