# shows: mean first, then the variance about it, as a kernel over a row does
# case: layernorm fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width, eps=eps)
        self.eps = eps

    def forward(self, x):
        wide = x.float()
        centred = wide - wide.mean(-1, keepdim=True)
        scaled = centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + self.eps)
        return (scaled * self.norm.weight.float() + self.norm.bias.float()).to(x.dtype)
