# shows: indices found in chunks of codes, ties to the first one
# case: nearest_code fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, codes, width):
        super().__init__()
        self.codebook = torch.nn.Parameter(torch.randn(codes, width))

    def forward(self, x):
        best = torch.full((x.shape[0],), float("inf"), dtype=x.dtype, device=x.device)
        place = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)
        for first in range(0, self.codebook.shape[0], 8):
            codes = self.codebook[first : first + 8]
            found, index = ((codes * codes).sum(-1) - 2 * (x @ codes.t())).min(-1)
            better = found < best
            best = torch.where(better, found, best)
            place = torch.where(better, index + first, place)
        return place
