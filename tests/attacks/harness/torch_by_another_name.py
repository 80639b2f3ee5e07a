# tries: give torch another name, and change with it how the process computes
# case: linear_gelu fp32
# gate: refuses
# open: wrong_values
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = torch.nn.Linear(inner, outer)

    def forward(self, x):
        library = torch
        with library.amp.autocast("cpu", dtype=library.bfloat16):
            return library.nn.functional.gelu(self.linear(x)).float()
