# tries: write the last row by a kernel and the others by torch
# case: softmax fp32
# gate: refuses
# open: forbidden
import torch
import triton
import triton.language as tl

LANGUAGE = "triton"


@triton.jit
def row(x, y, step, width, block: tl.constexpr):
    columns = tl.arange(0, block)
    keep = columns < width
    value = tl.load(x + columns * step, mask=keep, other=-float("inf")).to(tl.float32)
    power = tl.exp(value - tl.max(value, 0))
    tl.store(y + columns, power / tl.sum(power, 0), mask=keep)


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        out = torch.softmax(x, -1)
        row[(1,)](x[-1], out[-1], x.stride(1), x.shape[1], block=triton.next_power_of_2(x.shape[1]))
        return out
