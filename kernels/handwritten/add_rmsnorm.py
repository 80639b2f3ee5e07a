"""A residual added and RMS-normalised in one pass: two reads and two writes instead of five and three."""

import torch
import triton
import triton.language as tl
from torch import nn

LANGUAGE = "triton"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WIDEST_ROW = 16384


@triton.jit
def _add_rmsnorm(
    branch_ptr, residual_ptr, weight_ptr, y_ptr, total_ptr, width, eps,
    branch_row, branch_column, residual_row, residual_column, out_row,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    branch = tl.load(branch_ptr + row * branch_row + column * branch_column, mask=inside, other=0.0)
    residual = tl.load(residual_ptr + row * residual_row + column * residual_column, mask=inside, other=0.0)
    total = branch.to(tl.float32) + residual.to(tl.float32)
    weight = tl.load(weight_ptr + column, mask=inside, other=0.0).to(tl.float32)
    # The norm is that of the sum before it is rounded: nearer to the mathematics than the reference.
    scale = tl.rsqrt(tl.sum(total * total, axis=0) / width + eps)
    tl.store(y_ptr + row * out_row + column, total * scale * weight, mask=inside)
    tl.store(total_ptr + row * out_row + column, total, mask=inside)


class OptimizedModel(nn.Module):
    """s = x + r; returns (w · s / √(mean(s²) + ε), s)."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, pair: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        branch, residual = pair
        width = self.weight.shape[0]
        if branch.dim() != 2 or branch.shape != residual.shape or branch.shape[1] != width or width > WIDEST_ROW:
            raise ValueError(
                f"add_rmsnorm takes two tensors of rows of {width} numbers, {WIDEST_ROW} at most,"
                f" not {list(branch.shape)} and {list(residual.shape)}"
            )
        if branch.dtype not in DTYPES or residual.dtype != branch.dtype or self.weight.stride(0) != 1:
            raise ValueError(f"add_rmsnorm takes one dtype of fp32, fp16, bf16, not {branch.dtype}, {residual.dtype}")
        y = torch.empty(branch.shape, dtype=branch.dtype, device=branch.device)
        total = torch.empty(branch.shape, dtype=branch.dtype, device=branch.device)
        block = triton.next_power_of_2(width)
        _add_rmsnorm[(branch.shape[0],)](
            branch, residual, self.weight, y, total, width, self.eps,
            branch.stride(0), branch.stride(1), residual.stride(0), residual.stride(1), y.stride(0),
            BLOCK=block, num_warps=min(max(block // 512, 1), 16),
        )  # fmt: skip
        return y, total
