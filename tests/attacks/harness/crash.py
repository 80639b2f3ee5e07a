# tries: crash the interpreter and take the judge along
# case: softmax fp32
# gate: refuses
# open: runtime_error tampering
import ctypes

import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        ctypes.string_at(8)
        return x
