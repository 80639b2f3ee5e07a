# tries: hide the product in an operator symbol
# case: nearest_code fp32
# gate: refuses
# open: forbidden
import torch
import triton
import triton.language as tl

LANGUAGE = "triton"


@triton.jit
def decoy(x, y):
    tl.store(y, tl.load(x))


class OptimizedModel(torch.nn.Module):
    def __init__(self, codes, width):
        super().__init__()
        self.codebook = torch.nn.Parameter(torch.randn(codes, width))

    def forward(self, x):
        spare = torch.empty(1, dtype=x.dtype, device=x.device)
        decoy[(1,)](x, spare)
        return ((self.codebook * self.codebook).sum(-1) - 2 * (x @ self.codebook.t())).argmin(-1)
