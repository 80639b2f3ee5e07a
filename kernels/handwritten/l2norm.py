"""Rows scaled to unit length: one program a row, one read and one write."""

import torch
import triton
import triton.language as tl
from torch import nn

LANGUAGE = "triton"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WIDEST_ROW = 16384


@triton.jit
def _l2norm(x_ptr, y_ptr, width, eps, x_row, x_column, y_row, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    x = tl.load(x_ptr + row * x_row + column * x_column, mask=inside, other=0.0).to(tl.float32)
    length = tl.sqrt(tl.sum(x * x, axis=0))
    tl.store(y_ptr + row * y_row + column, x / tl.maximum(length, eps), mask=inside)


class OptimizedModel(nn.Module):
    """y = x / max(‖x‖₂, ε) over the last dimension."""

    def __init__(self, eps: float = 1e-2) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() != 2 or x.dtype not in DTYPES or not 0 < x.shape[1] <= WIDEST_ROW:
            raise ValueError(
                f"l2norm takes rows of 1 to {WIDEST_ROW} numbers in fp32, fp16 or bf16, not {x.dtype} {list(x.shape)}"
            )
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        rows, width = x.shape
        block = triton.next_power_of_2(width)
        _l2norm[(rows,)](
            x, y, width, self.eps, x.stride(0), x.stride(1), y.stride(0),
            BLOCK=block, num_warps=min(max(block // 512, 1), 16),
        )  # fmt: skip
        return y
