# shows: persistent style: few programs that walk over all rows
# case: l2norm fp32
import torch
import triton
import triton.language as tl

LANGUAGE = "triton"
PROGRAMS = 2


@triton.jit
def rows(x, y, step_row, step_column, out_step, height, width, eps, block: tl.constexpr, programs: tl.constexpr):
    columns = tl.arange(0, block)
    keep = columns < width
    for row in range(tl.program_id(0), height, programs):
        value = tl.load(x + row * step_row + columns * step_column, mask=keep, other=0.0).to(tl.float32)
        length = tl.maximum(tl.sqrt(tl.sum(value * value, 0)), eps)
        tl.store(y + row * out_step + columns, value / length, mask=keep)


class OptimizedModel(torch.nn.Module):
    def __init__(self, eps=1e-2):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        height, width = x.shape
        block = triton.next_power_of_2(width)
        rows[(PROGRAMS,)](
            x, out, x.stride(0), x.stride(1), out.stride(0), height, width, self.eps, block=block, programs=PROGRAMS
        )
        return out
