"""Layer normalisation of rows with gain and bias."""

import torch
from torch import nn


class LayerNorm(nn.Module):
    """y = w · (x - mean) / √(var + ε) + b over the last dimension, var without Bessel's correction."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)
