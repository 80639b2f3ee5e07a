# tries: never end, so that a study waits forever
# case: softmax fp32
# gate: passes
# open: timeout
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        while True:
            x = x + 0
