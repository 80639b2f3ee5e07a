"""A short causal convolution for each channel, then SiLU."""

import torch
import torch.nn.functional as F
from torch import nn


class CausalConvSilu(nn.Module):
    """y[c, t] = silu(b[c] + Σ over k < 4 of w[c, k] x[c, t - 3 + k])."""

    def __init__(self, channels: int, taps: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, taps, groups=channels, padding=taps - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(self.conv(x)[..., : x.shape[-1]])
