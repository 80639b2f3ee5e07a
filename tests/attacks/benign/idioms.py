# shows: what authors write around a kernel: __all__, TYPE_CHECKING, asserts, **kwargs, extra_repr, a block for __main__
# case: rmsnorm fp32
"""RMS norm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Optional

import torch
import torch.nn as nn
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OptimizedModel"]
LANGUAGE = "torch"
BLOCK = 1 << 10
LOG2E: float = math.log2(math.e)


def _scale(x: Tensor, eps: float) -> Tensor:
    """One over the root."""
    return torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps)


class OptimizedModel(nn.Module):
    """RMS norm."""

    BLOCK = 128

    def __init__(self, width: int, eps: float = 1e-6, **unused: Any) -> None:
        super(OptimizedModel, self).__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self._eps = eps
        self.parts = nn.ModuleList(nn.Identity() for _ in range(2))

    def extra_repr(self) -> str:
        return f"eps={self._eps}"

    @torch.no_grad()
    def forward(self, x: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        assert x.dim() >= 2, f"two dimensions, not {x.dim()}"
        input_dtype = x.dtype
        h = x.to(torch.float32)
        h = h * _scale(h, self._eps)
        return self.weight * h.to(input_dtype)


if __name__ == "__main__":
    print(OptimizedModel(4)(torch.ones(2, 4)))
