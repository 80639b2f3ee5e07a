"""Causal attention with a linear penalty of distance for each head."""

import math

import torch
from torch import nn


class AlibiAttention(nn.Module):
    """softmax(Q Kᵀ / √d - m_h (i - j)) V over j ≤ i, with slopes m_h = 2^(-8 (h + 1) / heads)."""

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        heads, length = q.shape[-3], q.shape[-2]
        slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1, device=q.device, dtype=torch.float32) / heads)
        place = torch.arange(length, device=q.device)
        distance = (place[:, None] - place[None, :]).to(torch.float32)
        scores = (q @ k.transpose(-1, -2)).float() / math.sqrt(q.shape[-1])
        scores = scores - slopes[:, None, None] * distance
        scores = scores.masked_fill(place[None, :] > place[:, None], float("-inf"))
        return torch.softmax(scores, dim=-1).to(v.dtype) @ v
