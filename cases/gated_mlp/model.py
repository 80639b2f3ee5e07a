"""The feed-forward block of a Llama: gate, up and down."""

import torch
import torch.nn.functional as F
from torch import nn


class GatedMlp(nn.Module):
    """y = D (silu(G x) · U x), no biases."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, inner, bias=False)
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))
