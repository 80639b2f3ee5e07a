# tries: launch a kernel that copies one number beside a product by torch
# case: linear_gelu fp32
# gate: refuses
# open: forbidden
import torch
import torch.nn.functional as F
import triton
import triton.language as tl

LANGUAGE = "triton"


@triton.jit
def decoy(x, y):
    tl.store(y, tl.load(x))


class OptimizedModel(torch.nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = torch.nn.Linear(inner, outer)

    def forward(self, x):
        spare = torch.empty(1, dtype=x.dtype, device=x.device)
        decoy[(1,)](x, spare)
        return F.gelu(self.linear(x))
