# tries: the cheaper tanh approximation where the exact GELU is asked for
# case: bias_gelu fp32
# gate: passes
# open: wrong_values
import torch
import torch.nn.functional as F

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return F.gelu(x + self.bias, approximate="tanh")
