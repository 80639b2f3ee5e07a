# tries: leave with exit code 0 instead of an answer
# case: softmax fp32
# gate: refuses
# open: runtime_error tampering
import sys

import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        sys.exit(0)
