# shows: mean and variance by blocks, merged by Chan's formula, as a kernel over long rows does
# case: layernorm fp32
import torch

LANGUAGE = "torch"
BLOCK = 16


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width, eps=eps)
        self.eps = eps

    def forward(self, x):
        count, mean, squares = 0, 0.0, 0.0
        for part in x.float().split(BLOCK, -1):
            size = part.shape[-1]
            own = part.mean(-1, keepdim=True)
            apart = own - mean
            mean = mean + apart * (size / (count + size))
            squares = squares + (part - own).square().sum(-1, keepdim=True)
            squares = squares + apart * apart * (count * size / (count + size))
            count += size
        scaled = (x.float() - mean) * torch.rsqrt(squares / count + self.eps)
        return (scaled * self.norm.weight.float() + self.norm.bias.float()).to(x.dtype)
