"""A linear layer with a correction of low rank."""

import torch
from torch import nn


class LoraLinear(nn.Module):
    """y = x Wᵀ + b + α/r · (x Aᵀ) Bᵀ with A of r rows."""

    def __init__(self, inner: int, outer: int, rank: int, alpha: float = 16.0) -> None:
        super().__init__()
        self.linear = nn.Linear(inner, outer)
        self.down = nn.Parameter(torch.randn(rank, inner))
        self.up = nn.Parameter(torch.zeros(outer, rank))
        self.scaling = alpha / rank

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.scaling * (x @ self.down.t() @ self.up.t())
