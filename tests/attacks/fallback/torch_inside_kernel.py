# tries: call torch from a kernel's body, which an interpreter runs as Python and where operators count as the kernel's
# case: softmax fp32
# gate: refuses
# open: forbidden compile_error runtime_error
import torch
import triton

LANGUAGE = "triton"
WORK = []


@triton.jit
def rows():
    WORK.pop()()


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        WORK.append(lambda: out.copy_(torch.softmax(x, -1)))
        rows[(1,)]()
        return out
