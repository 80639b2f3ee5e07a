# shows: a convolution as a product with windows of the input
# case: causal_conv fp32
import torch
import torch.nn.functional as F

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, channels, taps=4):
        super().__init__()
        self.conv = torch.nn.Conv1d(channels, channels, taps, groups=channels, padding=taps - 1)
        self.taps = taps

    def forward(self, x):
        windows = F.pad(x, (self.taps - 1, 0)).unfold(-1, self.taps, 1)
        total = torch.einsum("bctk,ck->bct", windows, self.conv.weight[:, 0])
        return F.silu(total + self.conv.bias[:, None])
