"""The two best experts of each token and their shares."""

import torch
from torch import nn


class Top2Gating(nn.Module):
    """Two largest logits of each row: their places, and the softmax over the two."""

    def forward(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, places = torch.topk(self.scores(logits), 2, dim=-1)
        return torch.softmax(values.float(), dim=-1).to(logits.dtype), places

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        return logits
