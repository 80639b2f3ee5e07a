"""Layer normalisation over whole images, few rows of great length."""

import torch
from torch import nn


class ImageLayerNorm(nn.Module):
    """One mean and one variance for each image; gain and bias for each of its numbers."""

    def __init__(self, channels: int, height: int, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm = nn.LayerNorm((channels, height, width), eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)
