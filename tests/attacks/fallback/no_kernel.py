# tries: say triton and compute with torch
# case: softmax fp32
# gate: refuses
# open: forbidden
import torch

LANGUAGE = "triton"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        return torch.softmax(x, -1)
