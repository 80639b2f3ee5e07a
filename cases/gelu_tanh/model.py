"""The tanh approximation of GELU, written out operator by operator."""

import math

import torch
from torch import nn


class GeluTanh(nn.Module):
    """y = x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
        return 0.5 * x * (1 + torch.tanh(inner))
