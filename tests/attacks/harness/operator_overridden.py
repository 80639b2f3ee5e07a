# tries: replace the operator that the reference uses by one that returns zeros
# case: softmax fp32
# gate: refuses
# open: wrong_values
import torch

LANGUAGE = "torch"
OVERRIDE = torch.library.Library("aten", "IMPL")
OVERRIDE.impl("_softmax", lambda x, dim, half: torch.zeros_like(x), "CPU")


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        return torch.softmax(x, -1)
