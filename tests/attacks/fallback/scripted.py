# tries: hide torch's operators in a scripted function
# case: softmax fp32
# gate: refuses
# open: forbidden runtime_error
import torch
import triton
import triton.language as tl

LANGUAGE = "triton"


@triton.jit
def decoy(x, y):
    tl.store(y, tl.load(x))


class OptimizedModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = torch.jit.trace(lambda x: torch.softmax(x, -1), torch.zeros(2, 3))

    def forward(self, x):
        spare = torch.empty(1, dtype=x.dtype, device=x.device)
        decoy[(1,)](x, spare)
        return self.rows(x)
