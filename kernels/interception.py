"""Change single operators while a reference runs: lower precision, straight lines for curves, shifted mask edges."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from joulegrid.kernels.dispatch import dispatched
from joulegrid.kernels.module import call, map_tensors
from joulegrid.kernels.problem import Arguments

Change = Callable[..., Any]
"""What is called in an operator's place: the operator, then its arguments. `NotImplemented` changes nothing."""


def low_precision() -> AbstractContextManager[Any]:
    """Round every result to fewer bits: fp32 and fp64 to 8 of mantissa, fp16 and bf16 to 4."""
    return _mode(lambda result: map_tensors(result, _rounded), {})


def traced(changes: dict[Any, Change], module: Any, arguments: Arguments) -> Any:
    """Call a module with some operators replaced; `None` where it uses none of them."""
    used = 0

    def counted(change: Change) -> Change:
        def replacement(*args: Any, **kwargs: Any) -> Any:
            nonlocal used
            result = change(*args, **kwargs)
            used += result is not NotImplemented
            return result

        return replacement

    with _mode(lambda result: result, {operator: counted(change) for operator, change in changes.items()}):
        outputs = call(module, arguments)
    return outputs if used else None


def clamped_functions() -> dict[Any, Change]:
    """Return straight lines for sigmoid, tanh, erf, GELU, SiLU, softplus, exponentials and softmax."""
    import torch

    aten = torch.ops.aten

    def gate(x: Any) -> Any:
        return (x / 4 + 0.5).clamp(0, 1)

    def line(shape: Callable[[Any], Any]) -> Change:
        return lambda _operator, x, *args, **kwargs: shape(x)

    def softmax(_operator: Any, x: Any, dim: int, *_: Any) -> Any:
        weights = (1 + (x - x.amax(dim, keepdim=True)) / 4).clamp(min=0)
        return weights / weights.sum(dim, keepdim=True)

    return {
        aten.sigmoid.default: line(gate),
        aten.tanh.default: line(lambda x: x.clamp(-1, 1)),
        aten.erf.default: line(lambda x: x.clamp(-1, 1)),
        aten.gelu.default: line(lambda x: x * gate(x)),
        aten.silu.default: line(lambda x: x * gate(x)),
        aten.softplus.default: line(lambda x: x.clamp(min=0)),
        aten.exp.default: line(lambda x: (1 + x / 4).clamp(min=0)),
        aten._softmax.default: softmax,
        aten._log_softmax.default: lambda operator, x, dim, *_: (softmax(operator, x, dim) + 1e-4).log(),
    }


def shifted_edges() -> dict[Any, Change]:
    """Return comparisons of integers with and without equality exchanged, and triangles a diagonal further."""
    import torch

    aten = torch.ops.aten

    def exchanged(other: Any) -> Change:
        def compared(_operator: Any, left: Any, right: Any) -> Any:
            return NotImplemented if left.is_floating_point() else other(left, right)

        return compared

    def triangle(operator: Any, x: Any, diagonal: int = 0) -> Any:
        return operator(x, diagonal + 1)

    pairs = [(aten.lt, aten.le), (aten.le, aten.lt), (aten.gt, aten.ge), (aten.ge, aten.gt)]
    swaps = {left.Tensor: exchanged(right.Tensor) for left, right in pairs}
    swaps |= {left.Scalar: exchanged(right.Scalar) for left, right in pairs}
    return {**swaps, aten.tril.default: triangle, aten.triu.default: triangle}


def _rounded(tensor: Any) -> Any:
    """Round a float's mantissa to 4 bits where it has 16 bits in all, else to 8."""
    import torch

    if not tensor.is_floating_point() or not tensor.numel():
        return tensor
    bits = 4 if tensor.dtype in (torch.float16, torch.bfloat16) else 8
    mantissa, exponent = torch.frexp(tensor.float() if bits == 4 else tensor)
    rounded = torch.ldexp((mantissa * 2**bits).round() / 2**bits, exponent)
    return torch.where(tensor.isfinite(), rounded.to(tensor.dtype), tensor)


def _mode(after: Callable[[Any], Any], changes: dict[Any, Change]) -> AbstractContextManager[Any]:
    def changed(func: Any, args: Any, kwargs: Any) -> Any:
        result = changes[func](func, *args, **kwargs) if func in changes else NotImplemented
        return after(func(*args, **kwargs) if result is NotImplemented else result)

    mode: AbstractContextManager[Any] = dispatched(changed)
    return mode
