# tries: compute when the garbage collector finds the call's rubbish
# case: softmax fp32
# gate: refuses
# open: wrong_values
import torch

LANGUAGE = "torch"


class Rubbish:
    def __init__(self, source, target):
        self.me, self.source, self.target = self, source, target

    def __del__(self):
        self.target.copy_(torch.softmax(self.source, -1))


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)
        Rubbish(x, out)
        return out
