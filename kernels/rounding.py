"""Round otherwise than to nearest: what a result could have been had its roundings fallen differently.

Monte Carlo arithmetic: D. S. Parker, "Monte Carlo Arithmetic" (UCLA CSD-970002, 1997); C. Denis et al., "Verificarlo"
(ARITH 2016). A number that the dtype can hold stays as it is.
"""

from __future__ import annotations

from typing import Any


def randomly_rounded(wide: Any, dtype: Any, generator: Any) -> Any:
    """Round float64 or float32 numbers to a narrower dtype, up or down with odds by distance; without bias."""
    import torch

    if wide.dtype == dtype:
        return wide
    nearest = wide.to(dtype)
    moved = wide + uniform(wide, generator) / 2 * ulp(wide, dtype)
    held = (nearest == wide) | ~wide.isfinite()
    return torch.where(held, nearest, moved.to(dtype))


def ulp(wide: Any, dtype: Any) -> Any:
    """Return the distance between neighbours of `dtype` around each of some float32 or float64 numbers."""
    import torch

    limits = torch.finfo(dtype)
    power = torch.exp2((torch.frexp(wide).exponent - 1).to(wide.dtype))
    return (power * limits.eps).clamp(min=limits.smallest_normal * limits.eps)


def uniform(like: Any, generator: Any) -> Any:
    """Draw evenly from (-1, 1), as many numbers as `like` has, on its device."""
    import torch

    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device) * 2 - 1
