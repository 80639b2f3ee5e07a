"""Layer norm of rows: the mean first, then the variance of what is left, both from registers."""

import torch
import triton
import triton.language as tl
from torch import nn

LANGUAGE = "triton"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WIDEST_ROW = 16384


@triton.jit
def _layernorm(x_ptr, weight_ptr, bias_ptr, y_ptr, width, eps, x_row, x_column, y_row, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    x = tl.load(x_ptr + row * x_row + column * x_column, mask=inside, other=0.0).to(tl.float32)
    # E[x²] - E[x]² would lose digits where the mean is far from zero; the row is in registers, so another look is free.
    # The mean of what is left takes off the mean's own rounding, which 1 / √ε would magnify in rows without variance.
    centred = tl.where(inside, x - tl.sum(x, axis=0) / width, 0.0)
    centred = tl.where(inside, centred - tl.sum(centred, axis=0) / width, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, axis=0) / width + eps)
    weight = tl.load(weight_ptr + column, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(y_ptr + row * y_row + column, centred * scale * weight + bias, mask=inside)


class GainAndBias(nn.Module):
    """Holds the weights under the reference's names, norm.weight and norm.bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))


class OptimizedModel(nn.Module):
    """y = w · (x - mean) / √(var + ε) + b over the last dimension."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm = GainAndBias(width)
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.norm.weight, self.norm.bias
        width = weight.shape[0]
        if x.dim() != 2 or x.shape[1] != width or not 0 < width <= WIDEST_ROW:
            raise ValueError(f"layernorm takes rows of {width} numbers, {WIDEST_ROW} at most, not {list(x.shape)}")
        if x.dtype not in DTYPES or weight.stride(0) != 1 or bias.stride(0) != 1:
            raise ValueError(f"layernorm takes fp32, fp16 or bf16 and dense weights, not {x.dtype}")
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        block = triton.next_power_of_2(width)
        _layernorm[(x.shape[0],)](
            x, weight, bias, y, width, self.eps, x.stride(0), x.stride(1), y.stride(0),
            BLOCK=block, num_warps=min(max(block // 512, 1), 16),
        )  # fmt: skip
        return y
