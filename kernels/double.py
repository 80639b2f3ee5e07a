"""The oracle: a module evaluated in double precision, truly, whatever casts its own code asks for.

Two layers. Every float dtype that torch's functions are asked for becomes float64 (`x.float()`, `.to(torch.bfloat16)`,
`dtype=torch.float32`, the default dtype). Below, each result that an operator really returns is looked at: where a
narrower float appears all the same, or bits are read as another type, the case is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from joulegrid.errors import UsageError
from joulegrid.kernels.dispatch import dispatched
from joulegrid.kernels.module import call, construct, flat_tensors, load_class, load_state, map_tensors
from joulegrid.kernels.problem import Arguments, Problem


def oracle_module(problem: Problem, init: Arguments, state: Mapping[str, Any]) -> Any:
    """Return the module in float64 with these weights, tables that its constructor computes in float64 as well.

    It lies where the weights do.
    """
    with in_double():
        module = load_state(construct(load_class(problem), init).double(), map_tensors(state, widened))
    device = next((tensor.device for tensor in state.values()), None)
    return module if device is None else module.to(device)


def oracle_outputs(module: Any, arguments: Arguments) -> Any:
    """Return the module's outputs in float64 for arguments in any dtype, which are widened exactly."""
    with in_double():
        return call(module, map_tensors(arguments, widened))


def widened(tensor: Any) -> Any:
    """Return a float tensor in float64, any other as it is."""
    return tensor.double() if tensor.is_floating_point() else tensor


@contextmanager
def in_double() -> Iterator[None]:
    """Compute in float64 inside the block; `UsageError` names the operator that returned a narrower float."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _refusal_of_narrow_floats(), _remapped_casts():
            yield
    finally:
        torch.set_default_dtype(before)


def _remapped_casts() -> Any:
    import torch
    from torch.overrides import TorchFunctionMode

    casts = (torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16)

    def wide(value: Any) -> Any:
        narrow = isinstance(value, torch.dtype) and value.is_floating_point
        return torch.float64 if narrow else value

    class RemappedCasts(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in casts:
                func = torch.Tensor.double
            kwargs = {name: wide(value) for name, value in (kwargs or {}).items()}
            return func(*(wide(value) for value in args), **kwargs)

    return RemappedCasts()


def _refusal_of_narrow_floats() -> Any:
    import torch

    def narrow(tensor: Any) -> bool:
        return bool(tensor.dtype.is_floating_point or tensor.is_complex()) and tensor.dtype not in wide_enough

    wide_enough = (torch.float64, torch.complex128)

    def wide(func: Any, args: Any, kwargs: Any) -> Any:
        if func is torch.ops.aten.view.dtype:
            raise UsageError("oracle: forward reads bits as another dtype (view), which has no float64 counterpart")
        result = func(*args, **kwargs)
        if any(narrow(tensor) for tensor in flat_tensors(result)):
            raise UsageError(
                f"oracle: {func} returned a float narrower than float64, so the oracle would not be exact; let"
                " forward take its dtypes from its inputs or name them as torch dtypes"
            )
        return result

    return dispatched(wide)
