# shows: a product in tiles of rows, columns and terms, the tiles added in fp32
# case: gated_mlp bf16
import torch

LANGUAGE = "torch"


def product(left, right, tile=16):
    """Return left · rightᵀ in fp32."""
    total = torch.zeros(left.shape[0], right.shape[0], device=left.device)
    for first in range(0, left.shape[-1], tile):
        terms = slice(first, first + tile)
        for row in range(0, left.shape[0], 4):
            part = left[row : row + 4, terms].float()
            for column in range(0, right.shape[0], tile):
                block = right[column : column + tile, terms].float()
                total[row : row + 4, column : column + tile] += part @ block.t()
    return total


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.gate = torch.nn.Linear(width, inner, bias=False)
        self.up = torch.nn.Linear(width, inner, bias=False)
        self.down = torch.nn.Linear(inner, width, bias=False)

    def forward(self, x):
        gate = product(x, self.gate.weight)
        hidden = gate * torch.sigmoid(gate) * product(x, self.up.weight)
        return product(hidden.to(x.dtype), self.down.weight).to(x.dtype)
