# tries: leave processes behind that take the processor from the baseline
# case: softmax fp32
# gate: refuses
# open: forbidden tampering runtime_error
import os
import time

import torch

LANGUAGE = "torch"


def spin(seconds):
    for _ in range(2):
        if os.fork() == 0:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass
            os._exit(0)


class OptimizedModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        spin(2.0)

    def forward(self, x):
        return torch.softmax(x, -1)
