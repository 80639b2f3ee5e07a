"""Rows scaled to unit length."""

import torch
from torch import nn


class L2Norm(nn.Module):
    """y = x / max(‖x‖₂, ε) over the last dimension."""

    def __init__(self, eps: float = 1e-2) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.float().square().sum(-1, keepdim=True).sqrt()
        return (x.float() / length.clamp(min=self.eps)).to(x.dtype)
