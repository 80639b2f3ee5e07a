"""The nearest vector of a codebook for each row."""

import torch
from torch import nn


class NearestCode(nn.Module):
    """argmin over k of ‖x - c_k‖², as ‖c_k‖² - 2 x·c_k."""

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.randn(codes, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scores(x).argmin(-1)

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        return self.codebook.square().sum(-1) - 2 * (x @ self.codebook.t())
