# tries: launch a kernel that cannot run and catch the error with torch
# case: softmax fp32
# gate: refuses
# open: forbidden
import torch
import triton
import triton.language as tl

LANGUAGE = "triton"


@triton.jit
def rows(x, y, block: tl.constexpr):
    tl.store(y, tl.load(x + no_such_name))  # noqa: F821


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)
        try:
            rows[(x.shape[0],)](x, out, block=64)
        except Exception:
            out = torch.softmax(x, -1)
        return out
