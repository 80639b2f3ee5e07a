# tries: switch TF32 on for itself alone
# family: no_work
# case: linear_gelu fp32
# gate: refuses
# open: wrong_values
import torch
import torch.nn.functional as F

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = torch.nn.Linear(inner, outer)

    def forward(self, x):
        torch.backends.cuda.matmul.allow_tf32 = True
        return F.gelu(self.linear(x))
