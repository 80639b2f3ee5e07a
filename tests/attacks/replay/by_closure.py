# tries: hide the memory in a closure
# case: softmax fp32
# gate: refuses
# open: wrong_values
import torch

LANGUAGE = "torch"


def make():
    last = None

    def rows(x):
        nonlocal last
        if last is None or last.shape != x.shape:
            last = torch.softmax(x, -1)
        return last.clone()

    return rows


ROWS = make()


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        return ROWS(x)
