"""What a dotted path of an import really leads to: modules are asked, so that no module's own imports are a way out.

`torch.sys`, `typing.functools` and `dataclasses.builtins` are modules that others happen to have imported.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Iterator

from joulegrid.kernels.judge.gate import words


def foreign_module(path: str) -> str | None:
    """Return the name of the first module on a path that a candidate has no business in, or `None`.

    One that is reached by another name than its own, as `torch.nn.init.torch`, is such a one.
    """
    return next((name for place, name in _modules_on(path) if name != place or name not in words.OPEN_MODULES), None)


def is_module(path: str) -> bool:
    """Tell whether a path ends at a module."""
    names = list(_found(path))
    return len(names) == path.count(".") + 1 and isinstance(names[-1], types.ModuleType)


def computes(name: str) -> bool:
    """Tell whether a name of torch's is an operator or a constant; everything else must be on a list."""
    import torch

    constant = isinstance(vars(torch).get(name), torch.dtype | torch.layout | torch.memory_format | float)
    return constant or hasattr(torch._C._VariableFunctions, name) or name in torch.functional.__all__


def of_torch(name: str) -> bool:
    """Tell whether tensors or modules of torch have an attribute of this name."""
    import torch

    return hasattr(torch.Tensor, name) or name in dir(torch.nn.Module())


def _modules_on(path: str) -> Iterator[tuple[str, str]]:
    """Each module on the path: where it stands there, and its own name."""
    names = path.split(".")
    for number, found in enumerate(_found(path), 1):
        if isinstance(found, types.ModuleType):
            yield ".".join(names[:number]), found.__name__


def _found(path: str) -> Iterator[object]:
    """What the path leads to, name by name, as far as it can be followed: what is not installed cannot be."""
    first, *rest = path.split(".")
    if first not in {name.partition(".")[0] for name in words.MODULES}:
        return
    try:
        found: object = importlib.import_module(first)
        yield found
        for number, name in enumerate(rest, 1):
            whole = ".".join((first, *rest[:number]))
            found = importlib.import_module(whole) if whole in words.OPEN_MODULES else vars(found)[name]
            yield found
    except (ImportError, TypeError, KeyError):
        return
