"""Softmax of long rows."""

import torch
from torch import nn


class RowSoftmax(nn.Module):
    """y = exp(x - max) / Σ exp(x - max) over the last dimension."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x, dim=-1)
