# tries: do the whole sum in bfloat16 under a contract of fp32
# case: rmsnorm fp32
# gate: passes
# open: wrong_values
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        narrow = x.to(torch.bfloat16)
        mean = narrow.square().mean(-1, keepdim=True).float()
        return self.weight * (x * torch.rsqrt(mean + self.eps))
