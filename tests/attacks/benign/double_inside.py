# shows: better than eager: everything in double precision, rounded once
# case: layernorm fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width, eps=eps)
        self.eps = eps

    def forward(self, x):
        wide = x.double()
        centred = wide - wide.mean(-1, keepdim=True)
        scaled = centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + self.eps)
        return (scaled * self.norm.weight.double() + self.norm.bias.double()).to(x.dtype)
