# tries: let torch.compile write the kernel
# case: softmax fp32
# gate: refuses
# open: forbidden runtime_error timeout
import torch
import triton
import triton.language as tl

LANGUAGE = "triton"


@triton.jit
def decoy(x, y):
    tl.store(y, tl.load(x))


@torch.compile(backend="eager")
def rows(x):
    return torch.softmax(x, -1)


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        spare = torch.empty(1, dtype=x.dtype, device=x.device)
        decoy[(1,)](x, spare)
        return rows(x)
