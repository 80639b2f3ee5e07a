"""Load a case's unmodified module by file, and build it for given dims in a given dtype. In this process, as it is.

The file is run under a name that occurs once and leaves nothing in `sys.modules`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from joulegrid.errors import UsageError
from joulegrid.kernels.problem import Arguments, Problem

_loads = 0


def load_file(path: Path) -> Any:
    """Run a Python file and return its module; `UsageError` with the line where it fails."""
    global _loads
    if not path.is_file():
        raise UsageError(f"module: {path} is missing")
    _loads += 1
    name = f"_joulegrid_case_{_loads}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise UsageError(f"module: {path} is no Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses and typing look their module up while it runs
    try:
        with _said_of(f"module: {path} cannot be loaded"):
            specification.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


def load_class(problem: Problem) -> Any:
    """Return the case's class; `UsageError` where the file lacks it or it is no `torch.nn.Module`."""
    from torch import nn

    module = load_file(problem.file)
    found = getattr(module, problem.class_name, None)
    known = [name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, nn.Module)]
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UsageError(
            f"module.class: {problem.file} has no torch.nn.Module {problem.class_name!r}; it has"
            f" {', '.join(known) or 'none'}"
        )
    return found


def weight_provider(problem: Problem) -> Callable[..., Mapping[str, Any]]:
    """Return the function that `weights.provider` names; `UsageError` where it is not there."""
    file, _, name = (problem.weights.provider or "").partition(":")
    function = getattr(load_file(problem.file.parent / file), name, None)
    if not callable(function):
        raise UsageError(f"weights.provider: {problem.file.parent / file} has no function {name!r}")
    return function  # type: ignore[no-any-return]


def construct(cls: Any, arguments: Arguments) -> Any:
    """Build the module in evaluation mode; its initial weights are the same each time. `UsageError` where it cannot.

    The global generator is left as it was.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # manual_seed also queues a seeding of CUDA, a millisecond each time
        with _said_of(f"module: {cls.__name__}{_call(arguments)} cannot be built"):
            return cls(*arguments.args, **arguments.kwargs).eval().requires_grad_(False)


def in_dtype(module: Any, dtype: str, device: str = "cpu") -> Any:
    """Move a module, float parameters and buffers in `fp32`, `fp16` or `bf16`; integers stay integers."""
    from joulegrid.kernels.device import torch_dtype

    return module.to(device=device, dtype=torch_dtype(dtype))


def load_state(module: Any, state: Mapping[str, Any]) -> Any:
    """Copy weights into a module whose names and shapes are the same, and return it."""
    with _said_of("weights: they do not fit the module"):
        module.load_state_dict(dict(state), strict=True)
    return module


def call(module: Any, arguments: Arguments) -> Any:
    """Return what `forward` returns for these arguments, without gradients; `UsageError` where it raises."""
    import torch

    with torch.no_grad(), _said_of(f"inputs: {type(module).__name__}.forward{_call(arguments)} raised"):
        return module(*arguments.args, **arguments.kwargs)


def flat_tensors(tree: Any) -> list[Any]:
    """Return the tensors of nested tuples, lists and dicts in the order of a walk."""
    import torch

    if isinstance(tree, torch.Tensor):
        return [tree]
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    return [tensor for item in tree for tensor in flat_tensors(item)] if isinstance(tree, list | tuple) else []


def map_tensors(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Return the same tree with each tensor changed."""
    import torch

    if isinstance(tree, torch.Tensor):
        return change(tree)
    if isinstance(tree, Arguments):
        return Arguments(map_tensors(tree.args, change), map_tensors(tree.kwargs, change))
    if isinstance(tree, Mapping):
        return {name: map_tensors(item, change) for name, item in tree.items()}
    return type(tree)(map_tensors(item, change) for item in tree) if type(tree) in (list, tuple) else tree


def with_tensors(tree: Any, tensors: Sequence[Any]) -> Any:
    """Return the same tree with these tensors, given in the order of `flat_tensors`."""
    left = iter(tensors)
    return map_tensors(tree, lambda _: next(left))


def _call(arguments: Arguments) -> str:
    """The arguments as a call shows them, tensors by dtype and shape."""
    import torch

    def shown(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        return f"[{', '.join(map(shown, value))}]" if isinstance(value, list | tuple) else f"{value!r:.40}"

    shown_kwargs = [f"{name}={shown(value)}" for name, value in arguments.kwargs.items()]
    return f"({', '.join([*map(shown, arguments.args), *shown_kwargs])})"


@contextmanager
def _said_of(what: str) -> Iterator[None]:
    """Turn whatever a case's own code raises into one error that says where."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{what}: {type(error).__name__}: {error}") from error
