# shows: sums by a product with a triangle of ones
# case: masked_reverse_cumsum fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x, mask):
        kept = x * mask.to(x.dtype)
        width = x.shape[-1]
        return kept @ torch.ones(width, width, dtype=x.dtype, device=x.device).tril()
