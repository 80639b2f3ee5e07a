"""Group normalisation of feature maps, then SiLU."""

import torch
import torch.nn.functional as F
from torch import nn


class GroupNormSilu(nn.Module):
    """Mean and variance over each group of channels and all pixels; gain and bias by channel; z · sigmoid(z)."""

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(self.norm(x))
