"""Rows quantised to int8 with a scale of their own."""

import torch
from torch import nn


class QuantizeRows(nn.Module):
    """s = max|x| / 127 (at least ε); q = round(x / s) in -127…127. Returns (q, s)."""

    def __init__(self, eps: float = 1e-4) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.round(self.unrounded(x)).to(torch.int8), self.scale(x)

    def unrounded(self, x: torch.Tensor) -> torch.Tensor:
        return (x.float() / self.scale(x)).clamp(-127, 127)

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().abs().amax(-1, keepdim=True).div(127).clamp(min=self.eps)
