"""What float tensors are filled with, so that no kernel can count on kind numbers. Rows are the last dimension.

Names are the contract: manifests may restrict themselves to some. Each function takes standard normal numbers and a
generator and returns new numbers of the same shape, all in double precision on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

HEAVY_LIMIT = 1e3
"""Heavy tails are cut there: fp16 ends at 65504 and squares must still fit a sum."""


def normal(base: Any, _generator: Any) -> Any:
    """Keep the standard normal numbers."""
    return base


def uniform(base: Any, generator: Any) -> Any:
    """Draw evenly from (-1, 1)."""
    return _uniform(base, generator) * 2 - 1


def offset(base: Any, _generator: Any) -> Any:
    """Put the mean at 5: sums of squares minus squared means lose digits."""
    return base + 5


def tiny(base: Any, _generator: Any) -> Any:
    """Shrink to a thousandth: an epsilon that was forgotten shows."""
    return base * 1e-3


def large(base: Any, _generator: Any) -> Any:
    """Stretch a hundredfold: an exponential without its maximum subtracted overflows."""
    return base * 1e2


def heavy_tail(base: Any, generator: Any) -> Any:
    """Draw from Student's t with two degrees of freedom (normal over the root of an exponential), cut at ±1000."""
    exponential = -_uniform(base, generator).clamp(min=1e-12).log()
    return (base / exponential.sqrt()).clamp(-HEAVY_LIMIT, HEAVY_LIMIT)


def sparse(base: Any, generator: Any) -> Any:
    """Keep one number in ten, zero for the others."""
    return base * (_uniform(base, generator) < 0.1)


def ascending(base: Any, _generator: Any) -> Any:
    """Sort each row: the maximum comes last, and an online maximum is renewed at every step."""
    return base.sort(dim=-1).values if base.dim() else base


def clustered(base: Any, _generator: Any) -> Any:
    """Put all large numbers of a row into its first tenth."""
    result = base.clone()
    if base.dim():
        result[..., : max(1, base.shape[-1] // 10)] += 8
    return result


def spike(base: Any, generator: Any) -> Any:
    """Leave one number of size 30 at a random place of each row of small ones."""
    import torch

    if not base.dim() or not base.numel():
        return base
    place = torch.randint(base.shape[-1], (*base.shape[:-1], 1), generator=generator)
    return (base * 0.01).scatter(-1, place, 30.0)


def constant_rows(base: Any, _generator: Any) -> Any:
    """Repeat one number along each row: variances are zero."""
    return base[..., :1].expand_as(base).clone() if base.dim() else base


def ties(base: Any, _generator: Any) -> Any:
    """Round to halves: maxima and ranks are no longer unique."""
    return (base * 2).round() / 2


def tail_column(base: Any, _generator: Any) -> Any:
    """Make the last number of each row a hundred times larger: a tile that is left out shows."""
    result = base.clone()
    if base.dim():
        result[..., -1:] *= 100
    return result


def uneven_rows(base: Any, generator: Any) -> Any:
    """Scale each row by a number between 0.01 and 10: a sum over some of the rows is not that over all of them."""
    import torch

    if not base.dim():
        return base
    exponent = torch.rand((*base.shape[:-1], 1), generator=generator, dtype=base.dtype)
    return base * 10 ** (3 * exponent - 2)


def _uniform(base: Any, generator: Any) -> Any:
    import torch

    return torch.rand(base.shape, generator=generator, dtype=base.dtype)


DISTRIBUTIONS: dict[str, Callable[[Any, Any], Any]] = {
    function.__name__: function
    for function in (
        normal, uniform, offset, tiny, large, heavy_tail, sparse, ascending, clustered, spike, constant_rows, ties,
        tail_column, uneven_rows,
    )
}  # fmt: skip
