"""The mean Huber loss between a prediction and a target."""

import torch
from torch import nn


class HuberLoss(nn.Module):
    """mean of e²/2 where |e| ≤ δ, and of δ(|e| - δ/2) beyond, e = prediction - target."""

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        error = (prediction - target).float().abs()
        near = 0.5 * error * error
        far = self.delta * (error - 0.5 * self.delta)
        return torch.where(error <= self.delta, near, far).mean()
