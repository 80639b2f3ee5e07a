"""The mean cross entropy of logits with labels to be ignored."""

import torch
import torch.nn.functional as F
from torch import nn


class CrossEntropy(nn.Module):
    """mean over rows whose label is not ignored of log Σ exp(z) - z[label], in fp32."""

    def __init__(self, ignored: int = -100) -> None:
        super().__init__()
        self.ignored = ignored

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits.float(), labels, ignore_index=self.ignored)
