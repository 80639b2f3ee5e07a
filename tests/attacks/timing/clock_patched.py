# tries: slow the clock that a harness in this process would read, and do nothing
# case: softmax fp32
# gate: refuses
# open: wrong_values
import time

import torch

LANGUAGE = "torch"
TRUE = time.perf_counter
time.perf_counter = lambda: TRUE() / 100
time.perf_counter_ns = lambda: int(TRUE() * 1e7)


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        return torch.empty_like(x)
