"""The weighted sum of the outputs of the two best of several experts."""

import math

import torch
from torch import nn


class SparseExperts(nn.Module):
    """y = Σ over the two best experts e of p_e · D_e relu(U_e x), p the softmax of their two router scores."""

    def __init__(self, experts: int, width: int, inner: int) -> None:
        super().__init__()
        self.router = nn.Linear(width, experts, bias=False)
        self.up = nn.Parameter(torch.randn(experts, inner, width) / math.sqrt(width))
        self.down = nn.Parameter(torch.randn(experts, width, inner) / math.sqrt(inner))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values, places = torch.topk(self.router(x).float(), 2, dim=-1)
        shares = torch.zeros_like(self.router(x).float()).scatter(-1, places, torch.softmax(values, dim=-1))
        total = torch.zeros_like(x)
        for expert in range(self.up.shape[0]):
            hidden = torch.relu(x @ self.up[expert].t())
            total = total + shares[:, expert, None].to(x.dtype) * (hidden @ self.down[expert].t())
        return total
