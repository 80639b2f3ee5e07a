# shows: guards that raise on dtypes and ranks that it was not written for
# case: swiglu bf16
import torch
import torch.nn.functional as F

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        if x.dtype not in (torch.float32, torch.bfloat16):
            raise TypeError(f"float32 or bfloat16, not {x.dtype}")
        if x.dim() != 2 or x.shape[-1] % 2:
            raise ValueError("two dimensions, the last one even")
        half = x.shape[-1] // 2
        return F.silu(x[..., :half]) * x[..., half:]
