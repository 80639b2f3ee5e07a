# tries: read beyond the row's end without a mask
# case: l2norm fp32
# gate: passes
# open: wrong_values runtime_error
import torch
import triton
import triton.language as tl

LANGUAGE = "triton"


@triton.jit
def rows(x, y, step_row, step_column, out_step, width, eps, block: tl.constexpr):
    row = tl.program_id(0)
    columns = tl.arange(0, block)
    value = tl.load(x + row * step_row + columns * step_column).to(tl.float32)
    length = tl.maximum(tl.sqrt(tl.sum(value * value, 0)), eps)
    tl.store(y + row * out_step + columns, value / length, mask=columns < width)


class OptimizedModel(torch.nn.Module):
    def __init__(self, eps=1e-2):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        width = x.shape[1]
        block = triton.next_power_of_2(width)
        rows[(x.shape[0],)](x, out, x.stride(0), x.stride(1), out.stride(0), width, self.eps, block=block)
        return out
