"""The sum of all later numbers that a mask leaves."""

import torch
from torch import nn


class MaskedReverseCumsum(nn.Module):
    """y[t] = Σ over s ≥ t of m[s] x[s] along the last dimension."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kept = x.masked_fill(~mask, 0.0)
        return kept.flip(-1).cumsum(-1).flip(-1)
