# tries: launch one program too few, so that the last row is never written
# case: softmax fp32
# gate: passes
# open: wrong_values
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
    power = tl.exp(value - tl.max(value, 0))
    tl.store(y + row * out_step + columns, power / tl.sum(power, 0), mask=keep)


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        width = x.shape[1]
        grid = (max(1, x.shape[0] - 1),)
        rows[grid](x, out, x.stride(0), x.stride(1), out.stride(0), width, block=triton.next_power_of_2(width))
        return out
