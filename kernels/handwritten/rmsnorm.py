"""RMS norm of rows: one program a row, which stays in registers between the mean and the product."""

import torch
import triton
import triton.language as tl
from torch import nn

LANGUAGE = "triton"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WIDEST_ROW = 16384


@triton.jit
def _rmsnorm(x_ptr, weight_ptr, y_ptr, width, eps, x_row, x_column, y_row, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    x = tl.load(x_ptr + row * x_row + column * x_column, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + column, mask=inside, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, axis=0) / width + eps)
    tl.store(y_ptr + row * y_row + column, x * scale * weight, mask=inside)


class OptimizedModel(nn.Module):
    """y = w · x / √(mean(x²) + ε) over the last dimension, rounded once."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        width = self.weight.shape[0]
        if x.dim() != 2 or x.shape[1] != width or not 0 < width <= WIDEST_ROW:
            raise ValueError(f"rmsnorm takes rows of {width} numbers, {WIDEST_ROW} at most, not {list(x.shape)}")
        if x.dtype not in DTYPES or self.weight.stride(0) != 1:
            raise ValueError(f"rmsnorm takes fp32, fp16 or bf16 and a dense weight, not {x.dtype}")
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        block = triton.next_power_of_2(width)
        # 16 numbers a thread: two vectors of 128 bits in bf16, and registers to spare.
        _rmsnorm[(x.shape[0],)](
            x, self.weight, y, width, self.eps, x.stride(0), x.stride(1), y.stride(0),
            BLOCK=block, num_warps=min(max(block // 512, 1), 16),
        )  # fmt: skip
        return y
