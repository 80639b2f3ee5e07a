# shows: mean and variance of chunks, merged as Chan, Golub and LeVeque do
# case: layernorm fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width, eps=eps)
        self.eps = eps

    def forward(self, x):
        count, mean, squares = 0, 0.0, 0.0
        for part in x.float().split(16, -1):
            size = part.shape[-1]
            own = part.mean(-1, keepdim=True)
            shift = own - mean
            whole = count + size
            mean = mean + shift * (size / whole)
            squares = squares + (part - own).square().sum(-1, keepdim=True) + shift * shift * (count * size / whole)
            count = whole
        scale = torch.rsqrt(squares / count + self.eps)
        return ((x.float() - mean) * scale * self.norm.weight.float() + self.norm.bias.float()).to(x.dtype)
