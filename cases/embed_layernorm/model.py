"""Token and position embeddings gathered, added and normalised."""

import torch
from torch import nn


class EmbedLayerNorm(nn.Module):
    """y = layernorm(token[id] + position[t])."""

    def __init__(self, vocabulary: int, length: int, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        return self.norm(self.token(ids) + self.position(places))
