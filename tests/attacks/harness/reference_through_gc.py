# tries: find the reference among all living modules and ask it
# case: rmsnorm fp32
# gate: refuses
# open: runtime_error wrong_values
import gc

import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        others = [m for m in gc.get_objects() if isinstance(m, torch.nn.Module) and type(m).__name__ == "RmsNorm"]
        return others[0](x)
