# shows: one program for each row, any strides
# case: softmax fp32
import torch
import triton
import triton.language as tl

LANGUAGE = "triton"


@triton.jit
def rows(x, y, step_row, step_column, out_step, width, block: tl.constexpr):
    row = tl.program_id(0)
    columns = tl.arange(0, block)
    keep = columns < width
    value = tl.load(x + row * step_row + columns * step_column, mask=keep, other=-float("inf")).to(tl.float32)
    power = tl.exp2((value - tl.max(value, 0)) * 1.4426950408889634)
    tl.store(y + row * out_step + columns, power / tl.sum(power, 0), mask=keep)


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        width = x.shape[1]
        block = triton.next_power_of_2(width)
        rows[(x.shape[0],)](x, out, x.stride(0), x.stride(1), out.stride(0), width, block=block, num_warps=8)
        return out
