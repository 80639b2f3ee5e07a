# shows: a convolution as a product of windows with weights (im2col)
# case: causal_conv bf16
import torch
import torch.nn.functional as F

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, channels, taps=4):
        super().__init__()
        self.conv = torch.nn.Conv1d(channels, channels, taps, groups=channels, padding=taps - 1)
        self.taps = taps

    def forward(self, x):
        windows = F.pad(x.float(), (self.taps - 1, 0)).unfold(-1, self.taps, 1)
        weight = self.conv.weight.float()[:, 0]
        out = torch.einsum("bctk,ck->bct", windows, weight) + self.conv.bias.float()[:, None]
        out = out.to(x.dtype).float()
        return (out / (1 + torch.exp(-out))).to(x.dtype)
