"""How a child describes what it saw: exceptions, results, tensors. torch inside functions."""

from __future__ import annotations

import traceback
from typing import Any

FILE = "candidate.py"
"""The name that the code under test has in the scratch folder."""
MESSAGE_LIMIT = 4000


def described_error(error: BaseException, module_name: str) -> dict[str, Any]:
    """The error with its message and the deepest line of the candidate that raised it."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(FILE)]
    line = lines[-1].lineno if lines else getattr(error, "lineno", None)
    try:
        message = str(error)
    except BaseException as second:  # noqa: BLE001 - the candidate's own __str__
        message = f"a message that raised {type(second).__name__}"
    kinds = [kind.__name__ for kind in type(error).__mro__[:6]]
    return {"error": kinds[0], "kinds": kinds, "message": message[:MESSAGE_LIMIT], "line": line, "module": module_name}


def leaves(result: Any) -> list[Any]:
    """Return the tensors of a result in the order of a walk."""
    import torch

    if type(result) is torch.Tensor:
        return [result]
    tensors: list[Any] = []
    structure(result, tensors)
    return tensors


def structure(result: Any, tensors: list[Any]) -> Any:
    """Collect tensors in the order of a walk; `*` stands for a tensor, other things are named by their type."""
    import torch

    if type(result) in (torch.Tensor, torch.nn.Parameter):
        resolved = result.detach().resolve_conj().resolve_neg()
        tensors.append(resolved)
        return "*" if resolved.layout == torch.strided else f"Tensor of layout {resolved.layout}"
    if type(result) in (tuple, list):
        return [structure(item, tensors) for item in result]
    if type(result) is dict:
        return {str(name): structure(item, tensors) for name, item in result.items()}
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return [structure(item, tensors) for item in result]
    return f"{type(result).__module__}.{type(result).__qualname__}"


def described_tensor(tensor: Any) -> dict[str, Any]:
    """Return where and how a tensor lies."""
    return {
        "address": tensor.data_ptr(),
        "shape": list(tensor.shape),
        "strides": list(tensor.stride()),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "device": tensor.device.type,
    }
