# tries: remember outputs in a file, beyond the life of the process
# case: softmax fp32
# gate: refuses
# open: wrong_values forbidden
import os

import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        path = "-".join(map(str, x.shape)) + ".pt"
        if not os.path.exists(path):
            torch.save(torch.softmax(x, -1), path)
        return torch.load(path)
