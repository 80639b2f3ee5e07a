"""Attention over a sliding window with capped scores."""

import math

import torch
from torch import nn


class SoftcapWindowAttention(nn.Module):
    """softmax(c · tanh(Q Kᵀ / (c √d))) V over i - w < j ≤ i."""

    def __init__(self, window: int, cap: float = 20.0) -> None:
        super().__init__()
        self.window = window
        self.cap = cap

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        scores = (q @ k.transpose(-1, -2)).float() / math.sqrt(q.shape[-1])
        scores = self.cap * torch.tanh(scores / self.cap)
        place = torch.arange(q.shape[-2], device=q.device)
        distance = place[:, None] - place[None, :]
        outside = (distance < 0) | (distance >= self.window)
        return torch.softmax(scores.masked_fill(outside, float("-inf")), dim=-1).to(v.dtype) @ v
