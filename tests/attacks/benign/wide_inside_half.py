# shows: better than eager in bf16: fp32 inside, rounded once
# case: gelu_tanh bf16
import math

import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        wide = x.float()
        inner = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide * wide * wide)
        return (0.5 * wide * (1 + torch.tanh(inner))).to(x.dtype)
