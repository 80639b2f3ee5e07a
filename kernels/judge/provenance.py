"""Where the memory comes from that kernels are given and that is returned: hearsay from inside the child, as all there.

A tensor that is neither an argument, nor held by the module, nor the result of an operator that was seen, was computed
where nobody looked: in another thread, by another library, with the record of operators switched off. So was memory
that changed while neither an operator nor a kernel ran; of a GPU's memory that is not looked at. Imports nothing of
Joulegrid; torch inside functions.
"""

from __future__ import annotations

import ctypes
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any


class Provenance:
    """The storages that one call may use. They are held until its end, so that no address comes twice."""

    def __init__(self) -> None:
        self.unknown: Counter[str] = Counter()
        """Who was given memory from nowhere: kernels and operators by name, or `the output`."""
        self._known: dict[int, tuple[Any, int]] = {}
        """Address → storage, and a checksum of what it held when it last may have changed."""

    def admit_call(self, module: Any, args: Any, kwargs: Any) -> None:
        """Know a call's arguments, and all tensors that the module and its parts hold."""
        held = [value for part in module.modules() for value in vars(part).values()]
        self.changed([args, kwargs, held])

    def changed(self, tree: Any) -> None:
        """Know the tensors of a tree, and what they hold now."""
        for tensor in _tensors(tree):
            storage = _storage(tensor)
            if storage is not None:
                self._known[storage.data_ptr()] = storage, _checksum(storage)

    def require(self, who: str, tree: Any) -> None:
        """Note `who` for each tensor of a tree that is not known, and for all memory that has changed unseen."""
        for address, (storage, checksum) in self._known.items():
            found = _checksum(storage)
            if found != checksum:
                self.unknown[who] += 1
                self._known[address] = storage, found
        for tensor in _tensors(tree):
            storage = _storage(tensor)
            if storage is not None and storage.nbytes() and storage.data_ptr() not in self._known:
                self.unknown[who] += 1


def _storage(tensor: Any) -> Any:
    """The memory of a tensor; nothing for one that has none of its own."""
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return None


def _checksum(storage: Any) -> int:
    """Of memory that Python can reach; a GPU's has none."""
    if storage.device.type != "cpu" or not storage.nbytes():
        return 0
    return zlib.crc32((ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr()))


def _tensors(tree: Any) -> Iterator[Any]:
    import torch

    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from _tensors(item)
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from _tensors(item)
    elif isinstance(getattr(tree, "base", None), torch.Tensor):  # a tensor descriptor of Triton
        yield tree.base
