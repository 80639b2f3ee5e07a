"""A gated linear recurrence along time, as a Python loop."""

import torch
from torch import nn


class GatedRecurrence(nn.Module):
    """h[t] = a[t] h[t-1] + (1 - a[t]) x[t] from h = h0; returns all h, state kept in fp32."""

    def forward(self, x: torch.Tensor, decay: torch.Tensor, *, start: torch.Tensor) -> torch.Tensor:
        state = start.float()
        states = []
        for step in range(x.shape[1]):
            keep = decay[:, step].float()
            state = keep * state + (1 - keep) * x[:, step].float()
            states.append(state)
        return torch.stack(states, dim=1).to(x.dtype)
