"""Round otherwise than to nearest: what a result could have been had its roundings fallen differently.

Monte Carlo arithmetic: D. S. Parker, "Monte Carlo Arithmetic" (UCLA CSD-970002, 1997); C. Denis et al., "Verificarlo"
(ARITH 2016). A number that the dtype can hold stays as it is, and equal numbers are rounded alike by one operation: a
kernel that computes element by element does the same with each, so where inputs repeat its errors do not average out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

FACTORS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
"""Of splitmix64 (G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014)."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Random numbers between -1 and 1 that follow from a seed, from the numbers to be rounded, and from the turn."""

    seed: int
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_chance", random.Random(self.seed))  # noqa: S311 - no secrets, to be repeated

    def common(self) -> float:
        """Draw one number."""
        return self._chance.uniform(-1, 1)

    def of(self, values: Any) -> Any:
        """Draw a number for each float64 or float32: the same for equal ones, another the next time."""
        import torch

        bits = values.view(torch.int64 if values.dtype == torch.float64 else torch.int32).to(torch.int64)
        mixed = (bits + (self._chance.getrandbits(64) - 2**63)).mul_(FACTORS[0])
        mixed.bitwise_xor_(mixed >> 32).mul_(FACTORS[1])
        return mixed.to(values.dtype).mul_(2.0**-63)


def randomly_rounded(wide: Any, dtype: Any, noise: Any) -> Any:
    """Round float64 or float32 numbers to a narrower dtype, up or down with odds by distance; without bias.

    `noise` lies evenly between -1 and 1, a number for each.
    """
    import torch

    if wide.dtype == dtype:
        return wide
    nearest = wide.to(dtype)
    moved = wide + noise / 2 * ulp(wide, dtype)
    held = (nearest == wide) | ~wide.isfinite()
    return torch.where(held, nearest, moved.to(dtype))


def ulp(wide: Any, dtype: Any) -> Any:
    """Return the distance between neighbours of `dtype` around each of some float32 or float64 numbers."""
    import torch

    limits = torch.finfo(dtype)
    power = torch.exp2((torch.frexp(wide).exponent - 1).to(wide.dtype))
    return (power * limits.eps).clamp(min=limits.smallest_normal * limits.eps)
