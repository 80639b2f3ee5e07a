"""A linear layer whose weights are int8 with a scale for each output."""

import torch
from torch import nn


class Int8Linear(nn.Module):
    """y = (x Wᵀ) · s + b with W in int8, one scale for each of its rows."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outer, inner, dtype=torch.int8))
        self.scale = nn.Parameter(torch.ones(outer))
        self.bias = nn.Parameter(torch.zeros(outer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.to(x.dtype).t() * self.scale + self.bias
