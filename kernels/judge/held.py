"""What a module and its file hold between two calls, weights included: hearsay from inside the child, as all there.

A result is computed from arguments and weights, and nothing else changes by a call. Imports nothing of Joulegrid; torch
inside functions.
"""

from __future__ import annotations

import ctypes
import types
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

_DEEPEST = 6


def held(module: Any, constants: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that is held, by its path: of tensors place and checksum, of plain values themselves."""
    found = dict(_walk("the file", constants))
    for name, part in module.named_modules():
        found |= dict(_walk(name or "self", vars(part)))
    return found


def constants(file: types.ModuleType) -> dict[str, Any]:
    """Return the values that a file has at its top level: others come when its kernels are interpreted."""
    return {name: one for name, one in vars(file).items() if not name.startswith("__")}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the paths of what is other than it was."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path, "none") != after.get(path, "none"))


def _walk(path: str, node: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    import torch

    if isinstance(node, torch.Tensor):
        yield path, _content(node)
    elif isinstance(node, str | bytes | int | float | None):
        yield path, repr(node)
    elif depth < _DEEPEST and isinstance(node, Mapping):
        yield path, len(node)
        for name, item in node.items():
            yield from _walk(f"{path}.{name}", item, depth + 1)
    elif depth < _DEEPEST and isinstance(node, list | tuple):
        yield path, len(node)
        for number, item in enumerate(node):
            yield from _walk(f"{path}.{number}", item, depth + 1)


def _content(tensor: Any) -> tuple[int, int]:
    """Place and checksum; of memory that is no CPU's the place alone."""
    import torch

    if tensor.device.type != "cpu" or tensor.layout != torch.strided or not tensor.numel():
        return tensor.data_ptr() if tensor.device.type == "cuda" else 0, 0
    storage = tensor.untyped_storage()
    return tensor.data_ptr(), zlib.crc32((ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr()))
