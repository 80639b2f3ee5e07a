# tries: work in every second call only
# case: softmax fp32
# gate: refuses
# open: wrong_values
import itertools

import torch

LANGUAGE = "torch"
CALLS = itertools.count()


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        return torch.softmax(x, -1) if next(CALLS) % 2 == 0 else torch.empty_like(x)
