# shows: fixed statistics folded into one factor and one summand by each call
# case: batchnorm_relu_residual fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, channels, eps=1e-3):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(channels, eps=eps)
        self.eps = eps

    def forward(self, x, residual):
        norm = self.norm
        factor = norm.weight * torch.rsqrt(norm.running_var + self.eps)
        centred = x - norm.running_mean[:, None, None]
        return (centred * factor[:, None, None] + norm.bias[:, None, None] + residual).clamp(min=0)
