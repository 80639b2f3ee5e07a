# shows: exp2 with the logarithm folded into a constant
# case: softmax fp32
import torch

LANGUAGE = "torch"
LOG2_E = 1.4426950408889634


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        power = torch.exp2((x - x.amax(-1, keepdim=True)) * LOG2_E)
        return power / power.sum(-1, keepdim=True)
