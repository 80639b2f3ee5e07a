"""Batch normalisation with fixed statistics, a residual and ReLU."""

import torch
from torch import nn


class BatchNormReluResidual(nn.Module):
    """y = max(0, w · (x - running mean) / √(running variance + ε) + b + r), by channel."""

    def __init__(self, channels: int, eps: float = 1e-3) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=eps)

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(x) + residual)
