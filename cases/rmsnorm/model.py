"""Each row over its root mean square, computed in fp32, times a gain."""

import torch
from torch import nn


class RmsNorm(nn.Module):
    """y = w · x / √(mean(x²) + ε) over the last dimension; the quotient is rounded before the gain."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.to(torch.float32)
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * (wide * scale).to(x.dtype)
