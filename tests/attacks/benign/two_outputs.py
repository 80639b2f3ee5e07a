# shows: two outputs, one of them a view of an own temporary
# case: add_rmsnorm fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, pair):
        branch, residual = pair
        both = torch.stack((branch + residual, residual))
        total = both[0]
        scale = (total.square().sum(-1, keepdim=True) / total.shape[-1] + self.eps).pow(-0.5)
        return total * scale * self.weight, total
