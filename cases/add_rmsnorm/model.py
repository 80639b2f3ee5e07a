"""A residual added and both the sum and its RMS norm returned."""

import torch
from torch import nn


class AddRmsNorm(nn.Module):
    """s = x + r; returns (w · s / √(mean(s²) + ε), s). Branch and residual come as one pair."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, pair: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        branch, residual = pair
        total = branch + residual
        wide = total.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return normed.to(total.dtype) * self.weight, total
