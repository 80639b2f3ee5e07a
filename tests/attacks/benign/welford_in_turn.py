# shows: mean and variance of a group in one pass, one number after the other (Welford)
# case: groupnorm_silu bf16
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, groups, channels, eps=1e-5):
        super().__init__()
        self.norm = torch.nn.GroupNorm(groups, channels, eps=eps)
        self.groups, self.eps = groups, eps

    def forward(self, x):
        rows = x.float().reshape(x.shape[0], self.groups, -1)
        mean = torch.zeros_like(rows[..., 0])
        squares = torch.zeros_like(mean)
        for place in range(rows.shape[-1]):
            shift = rows[..., place] - mean
            mean = mean + shift / (place + 1)
            squares = squares + shift * (rows[..., place] - mean)
        scale = torch.rsqrt(squares / rows.shape[-1] + self.eps)
        normed = ((rows - mean[..., None]) * scale[..., None]).reshape(x.shape)
        gain, bias = (one.float()[:, None, None] for one in (self.norm.weight, self.norm.bias))
        normed = (normed * gain + bias).to(x.dtype).float()
        return (normed * torch.sigmoid(normed)).to(x.dtype)
