"""Queries and keys normalised by head, then turned by rotary positions."""

import torch
from torch import nn


class QkNormRope(nn.Module):
    """RMS norm over each head, then the two halves (a, b) become (a cos - b sin, b cos + a sin) by position."""

    def __init__(self, head_dim: int, base: float = 10000.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.q_weight = nn.Parameter(torch.ones(head_dim))
        self.k_weight = nn.Parameter(torch.ones(head_dim))
        self.base = base
        self.eps = eps

    def forward(self, q: torch.Tensor, k: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        half = q.shape[-1] // 2
        inverse = self.base ** (-torch.arange(half, device=q.device, dtype=torch.float32) / half)
        angle = positions.to(torch.float32)[:, None, :, None] * inverse
        return self._turn(q, self.q_weight, angle), self._turn(k, self.k_weight, angle)

    def _turn(self, x: torch.Tensor, weight: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps) * weight.float()
        first, second = wide.chunk(2, dim=-1)
        cosine, sine = angle.cos(), angle.sin()
        turned = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
        return turned.to(x.dtype)
