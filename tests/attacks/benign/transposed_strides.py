# shows: the right numbers in memory that is not contiguous
# case: l2norm fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, eps=1e-2):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        columns = x.t().contiguous()
        length = columns.square().sum(0, keepdim=True).sqrt().clamp(min=self.eps)
        return (columns / length).t()
