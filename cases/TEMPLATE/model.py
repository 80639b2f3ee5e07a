"""Paste your module here, unchanged."""

import torch
from torch import nn


class Model(nn.Module):
    """y = x · w + b, as a placeholder."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight + self.bias
