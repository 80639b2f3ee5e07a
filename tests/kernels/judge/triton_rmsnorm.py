"""A kernel for the case rmsnorm in Triton, as a text that tests change."""

from __future__ import annotations

SOURCE = """LANGUAGE = "triton"
import torch
import triton
import triton.language as tl


@triton.jit
def rows(x, w, y, width, stride, step, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    wide = tl.load(x + row * stride + columns * step, mask=inside, other=0.0).to(tl.float32)
    gain = tl.load(w + columns, mask=inside, other=0.0)
    scale = tl.rsqrt(tl.sum(wide * wide) / width + eps)
    norm = (wide * scale).to(y.dtype.element_ty)
    tl.store(y + row * width + columns, norm * gain, mask=inside)


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        block = triton.next_power_of_2(x.shape[-1])
        rows[(x.shape[0],)](x, self.weight, y, x.shape[-1], x.stride(0), x.stride(1), self.eps, BLOCK=block)
        return y
"""
