"""A linear layer and the exact GELU of its result."""

import torch
import torch.nn.functional as F
from torch import nn


class LinearGelu(nn.Module):
    """y = g(x Wᵀ + b) with g the exact GELU."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inner, outer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self.linear(x))
