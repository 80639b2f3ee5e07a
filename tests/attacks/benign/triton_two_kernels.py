# shows: two kernels with a workspace between them
# case: softmax fp32
import torch
import triton
import triton.language as tl

LANGUAGE = "triton"


@triton.jit
def sums(x, high, total, step_row, step_column, width, block: tl.constexpr):
    row = tl.program_id(0)
    columns = tl.arange(0, block)
    value = tl.load(x + row * step_row + columns * step_column, mask=columns < width, other=-float("inf"))
    highest = tl.max(value.to(tl.float32), 0)
    tl.store(high + row, highest)
    tl.store(total + row, tl.sum(tl.exp(value.to(tl.float32) - highest), 0))


@triton.jit
def shares(x, y, high, total, step_row, step_column, out_step, width, block: tl.constexpr):
    row = tl.program_id(0)
    columns = tl.arange(0, block)
    keep = columns < width
    value = tl.load(x + row * step_row + columns * step_column, mask=keep, other=0.0).to(tl.float32)
    share = tl.exp(value - tl.load(high + row)) / tl.load(total + row)
    tl.store(y + row * out_step + columns, share, mask=keep)


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        height, width = x.shape
        high = torch.empty(height, dtype=torch.float32, device=x.device)
        total = torch.empty_like(high)
        block = triton.next_power_of_2(width)
        sums[(height,)](x, high, total, x.stride(0), x.stride(1), width, block=block)
        shares[(height,)](x, out, high, total, x.stride(0), x.stride(1), out.stride(0), width, block=block)
        return out
