"""The cross entropy of a vocabulary head, its logits never needed elsewhere."""

import torch
import torch.nn.functional as F
from torch import nn


class LinearCrossEntropy(nn.Module):
    """mean over rows of log Σ exp(z) - z[label] with z = V x, in fp32 from the logits on."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.head(x).float(), labels)
