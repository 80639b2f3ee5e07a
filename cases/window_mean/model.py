"""The mean of a sliding window along time."""

import torch
import torch.nn.functional as F
from torch import nn


class WindowMean(nn.Module):
    """y[t] = mean of x over t-w+1 … t, the part before the beginning counted as zeros."""

    def __init__(self, window: int = 8) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = F.pad(x, (self.window - 1, 0))
        return F.avg_pool1d(padded, kernel_size=self.window, stride=1)
