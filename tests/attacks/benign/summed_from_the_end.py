# shows: another order of summation
# case: rmsnorm fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        mean = x.float().flip(-1).square().cumsum(-1)[..., -1:] / x.shape[-1]
        return self.weight * (x.float() * torch.rsqrt(mean + self.eps)).to(x.dtype)
