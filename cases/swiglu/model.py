"""A gate through SiLU times the other half of each row."""

import torch
import torch.nn.functional as F
from torch import nn


class SwiGlu(nn.Module):
    """y = silu(g) · u with (g, u) the two halves of the last dimension."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = x.chunk(2, dim=-1)
        return F.silu(gate) * up
