"""Evaluate a module as another legitimate kernel would: sums in another order, roundings that fall otherwise.

A dispatch mode stands between the module and its operators. Sums and products are permuted, split and added in
float32 (`orders`); normalisations and softmaxes are torch's own decompositions into such sums; every pointwise result
is computed wider and rounded up or down at random (`rounding`). Rounding happens where eager rounds: in the case's
dtype between operators, once at the end of a sum. Products of bf16 that are also *added* in bf16 are not among these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from joulegrid.kernels.module import flat_tensors, map_tensors
from joulegrid.kernels.orders import Orders
from joulegrid.kernels.rounding import Noise, randomly_rounded

FUNCTIONS = frozenset(
    {
        "cos", "div", "erf", "exp", "exp2", "expm1", "log", "log1p", "log2", "pow", "reciprocal", "rsqrt", "sigmoid",
        "sin", "sqrt", "tanh",
    }
)  # fmt: skip
"""Pointwise functions that a GPU computes to two float32 ulps, not to half of one: CUDA C++ Programming Guide, "Maximum
error" of exp, tanh, rsqrt, pow …; PTX ISA, div.full.f32, which is Triton's `/`."""
DECOMPOSED = (
    "_softmax", "_log_softmax", "native_layer_norm", "native_group_norm", "native_batch_norm", "nll_loss_forward",
    "logsumexp", "linalg_vector_norm", "gelu", "silu", "softplus", "_native_batch_norm_legit_no_training",
)  # fmt: skip
AVERAGED = ("avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d")


def reordered(seed: int) -> AbstractContextManager[Any]:
    """Return a context in which modules are evaluated otherwise, the same way each time for the same seed."""
    import torch

    return _evaluated(_Evaluation(Orders(torch.Generator().manual_seed(seed)), Noise(seed)))


def summed_in_turn(accumulator: Any = None) -> AbstractContextManager[Any]:
    """Return a context in which all sums are made one term after the other, and nothing is random.

    With an accumulator of 16 bits this is what no ensemble has: partial sums that are rounded each time.
    """
    return _evaluated(_Evaluation(Orders(None, accumulator), None))


def _evaluated(evaluation: _Evaluation) -> AbstractContextManager[Any]:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    stack = ExitStack()
    stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # attention as products and a softmax, which are reordered
    stack.enter_context(_mode(evaluation))
    return stack


def _mode(evaluation: _Evaluation) -> AbstractContextManager[Any]:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    rules, decompositions = evaluation.rules(), _decompositions()

    class Reordering(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func in decompositions and _narrow(args):
                with self:
                    return decompositions[func](*args, **kwargs)
            result = rules[func](*args, **kwargs) if func in rules and _narrow(args) else NotImplemented
            if result is not NotImplemented:
                return result
            if torch.Tag.pointwise in func.tags and not func._schema.is_mutable:
                return evaluation.pointwise(func, args, kwargs)
            return func(*args, **kwargs)

    return Reordering()  # type: ignore[no-untyped-call]


@lru_cache(maxsize=1)
def _decompositions() -> dict[Any, Callable[..., Any]]:
    import torch
    from torch._decomp import get_decompositions

    found: dict[Any, Callable[..., Any]] = get_decompositions([getattr(torch.ops.aten, name) for name in DECOMPOSED])
    return found


def _narrow(args: Any) -> bool:
    """Whether the first tensor is a float of 16 or 32 bits."""
    tensors = flat_tensors(list(args))
    return bool(tensors) and tensors[0].is_floating_point() and tensors[0].element_size() <= 4


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """How each operator is computed in this evaluation."""

    orders: Orders
    noise: Noise | None
    """Source of random roundings; `None` rounds to nearest, as eager does."""

    def rules(self) -> dict[Any, Callable[..., Any]]:
        import torch

        aten = torch.ops.aten
        averages = {getattr(aten, name).default: self._wide(getattr(aten, name).default) for name in AVERAGED}
        return averages | {
            aten.mm.default: self.mm,
            aten.bmm.default: self.mm,
            aten.mv.default: lambda left, right: self.mm(left, right[:, None])[:, 0],
            aten.dot.default: lambda left, right: self.mm(left[None], right[:, None])[0, 0],
            aten.addmm.default: self.addmm,
            aten.baddbmm.default: self.addmm,
            aten.convolution.default: self.convolution,
            aten.sum.default: lambda x, dtype=None: self.sum(x, dtype=dtype),
            aten.sum.dim_IntList: self.sum,
            aten.mean.default: lambda x, dtype=None: self.mean(x, dtype=dtype),
            aten.mean.dim: self.mean,
            aten.var.correction: lambda x, *args, **kwargs: self.var_mean(x, *args, **kwargs)[0],
            aten.var_mean.correction: self.var_mean,
            aten.std.correction: self.std,
            # Decompositions of norms ask for the variance in this form, which is not yet taken apart there.
            aten.var_mean.dim: lambda x, dim, unbiased=True, keepdim=False: self.var_mean(
                x, dim, correction=int(unbiased), keepdim=keepdim
            ),
            aten.cumsum.default: self.cumsum,
            aten._to_copy.default: self.cast,
            # Inside a decomposition casts are not yet taken apart.
            aten.to.dtype: lambda x, dtype, *_, **__: self.cast(x, dtype=dtype),
            torch.ops.prims.convert_element_type.default: lambda x, dtype: self.cast(x, dtype=dtype),
        }

    def pointwise(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Compute wider and round at random; functions are off by up to two float32 ulps before, partly all alike."""
        import torch

        result = func(*args, **kwargs)
        if self.noise is None or not isinstance(result, torch.Tensor):
            return result
        if not result.is_floating_point() or result.element_size() > 4:
            return result
        wider = torch.float64 if result.dtype == torch.float32 else torch.float32
        wide = func(*map_tensors(list(args), lambda x: x.to(wider) if x.is_floating_point() else x), **kwargs)
        if wide.dtype != wider:  # the dtype was asked for by name
            return result
        if func.overloadpacket.__name__ in FUNCTIONS:
            ulps = (self.noise.common() + self.noise.of(wide)) / 2
            wide = torch.where(wide == wide.round(), wide, wide * (1 + ulps * torch.finfo(torch.float32).eps))
        return self.rounded(wide, result.dtype)

    def rounded(self, wide: Any, dtype: Any) -> Any:
        if self.noise is None or wide.dtype == dtype:
            return wide.to(dtype)
        return randomly_rounded(wide, dtype, self.noise.of(wide))

    def mm(self, left: Any, right: Any) -> Any:
        return self.rounded(self.orders.product(left.float(), right.float()), left.dtype)

    def addmm(self, bias: Any, left: Any, right: Any, *, beta: float = 1, alpha: float = 1) -> Any:
        total = alpha * self.orders.product(left.float(), right.float())
        return self.rounded(total + beta * bias.float() if beta else total, left.dtype)

    def sum(self, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
        wanted = dtype or x.dtype
        if wanted.itemsize > 4:
            return NotImplemented
        return self.rounded(self.orders.total(x.float(), _dims(x, dim), keepdim), wanted)

    def mean(self, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
        wanted = dtype or x.dtype
        if wanted.itemsize > 4:
            return NotImplemented
        return self.rounded(self._mean(x.float(), _dims(x, dim), keepdim), wanted)

    def var_mean(self, x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
        wide, dims = x.float(), _dims(x, dim)
        mean = self._mean(wide, dims, True)
        squares = self.orders.total((wide - mean).square(), dims, keepdim)
        terms = math.prod(x.shape[place] for place in dims) - (1 if correction is None else correction)
        mean = mean if keepdim else self._dropped(mean, dims)
        return self.rounded(self._divided(squares, max(0, terms)), x.dtype), self.rounded(mean, x.dtype)

    def std(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return self.rounded(self.var_mean(x.float(), *args, **kwargs)[0].double().sqrt(), x.dtype)

    def cumsum(self, x: Any, dim: int, *, dtype: Any = None) -> Any:
        wanted = dtype or x.dtype
        if wanted.itemsize > 4:
            return NotImplemented
        return self.rounded(self.orders.running(x.float(), dim), wanted)

    def convolution(self, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, *rest: Any) -> Any:
        """Compute as a product of the windows with the weights; transposed and three-dimensional ones stay."""
        from torch.nn.functional import unfold

        transposed, _, groups = rest
        spatial = weight.dim() - 2
        if transposed or spatial not in (1, 2):
            return NotImplemented
        flat = [1] * (2 - spatial)
        sizes = [
            (size + 2 * pad - step * (taps - 1) - 1) // hop + 1
            for size, pad, step, taps, hop in zip(x.shape[2:], padding, dilation, weight.shape[2:], stride, strict=True)
        ]
        image = x.float().reshape(*x.shape[:2], *flat, *x.shape[2:])
        windows = unfold(
            image,
            (*flat, *weight.shape[2:]),
            (*flat, *dilation),
            (*(0 for _ in flat), *padding),
            (*flat, *stride),
        )
        windows = windows.view(len(x), groups, -1, windows.shape[-1])
        out = self.orders.product(weight.float().reshape(groups, len(weight) // groups, -1), windows)
        out = out.reshape(len(x), len(weight), -1)
        out = out if bias is None else out + bias.float()[:, None]
        return self.rounded(out.reshape(len(x), len(weight), *sizes), x.dtype)

    def cast(self, x: Any, *, dtype: Any = None, **kwargs: Any) -> Any:
        import torch

        narrower = dtype is not None and dtype.is_floating_point and dtype.itemsize < x.element_size()
        return torch.ops.aten._to_copy.default(self.rounded(x, dtype) if narrower else x, dtype=dtype, **kwargs)

    def _mean(self, x: Any, dims: list[int], keepdim: bool) -> Any:
        return self._divided(self.orders.total(x, dims, keepdim), math.prod(x.shape[place] for place in dims))

    def _divided(self, total: Any, terms: int) -> Any:
        """Round as pointwise: where all terms are equal no order changes their mean, which a variance divides by ε."""
        return self.rounded(total.double() / terms, total.dtype)

    def _dropped(self, x: Any, dims: list[int]) -> Any:
        return x.reshape([size for place, size in enumerate(x.shape) if place not in dims])

    def _wide(self, operator: Any) -> Callable[..., Any]:
        return lambda x, *args, **kwargs: self.rounded(operator(x.double(), *args, **kwargs), x.dtype)


def _dims(x: Any, dim: Any) -> list[int]:
    """The dimensions that are meant, from 0; all of them where none is named."""
    named = [dim] if isinstance(dim, int) else list(dim or [])
    return [place % x.dim() for place in named] if named and x.dim() else list(range(x.dim()))
