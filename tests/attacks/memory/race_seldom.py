# tries: lose a number once in fifty calls, as a race does; found by hundreds of repeats in a row
# case: softmax fp32
# gate: refuses
# open: wrong_values nondeterministic
import time

import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        out = torch.softmax(x, -1)
        if time.perf_counter_ns() // 64 % 50 == 0:
            out[-1, -1] = 0
        return out
