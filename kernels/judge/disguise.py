"""One call in which whoever asks is told that its tensors are on a GPU; what is computed stays where it is.

A kernel that is interpreted on a CPU stands for one that a GPU is to run. Code that asks which of the two it is, and
does something else on a GPU, shows it here: the operators and launches of this call are held against those of the
others. It answers torch's and the environment's ways to ask, not every way that there is. Imports nothing of Joulegrid;
torch inside functions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

_INTERPRET = "TRITON_INTERPRET"
_PROPERTIES = SimpleNamespace(
    name="NVIDIA H200", major=9, minor=0, multi_processor_count=132, total_memory=141 << 30, warp_size=32,
    max_threads_per_multi_processor=2048, regs_per_multiprocessor=65536, shared_memory_per_block=48 << 10,
    shared_memory_per_block_optin=227 << 10, shared_memory_per_multiprocessor=228 << 10, L2_cache_size=60 << 20,
)  # fmt: skip
_ANSWERS = {
    "is_available": True, "is_initialized": True, "is_bf16_supported": True, "device_count": 1, "current_device": 0,
    "get_device_capability": (9, 0), "get_device_name": _PROPERTIES.name, "get_device_properties": _PROPERTIES,
    "synchronize": None, "set_device": None, "device": nullcontext(),
}  # fmt: skip


@contextmanager
def disguised() -> Iterator[None]:
    """Answer questions for the device inside the block as on a machine with a GPU."""
    import torch

    kept = {name: getattr(torch.cuda, name) for name in _ANSWERS}
    interpret = os.environ.pop(_INTERPRET, None)
    try:
        for name, answer in _ANSWERS.items():
            setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
        with _mode():
            yield
    finally:
        for name, function in kept.items():
            setattr(torch.cuda, name, function)
        if interpret is not None:
            os.environ[_INTERPRET] = interpret


def _mode() -> Any:
    import torch
    from torch.overrides import TorchFunctionMode

    gpu = torch.device("cuda", 0)
    tensors = torch.Tensor
    attributes: dict[Any, Any] = {tensors.is_cuda: True, tensors.is_cpu: False, tensors.device: gpu}

    class Disguise(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            asked = getattr(func, "__self__", None)
            if getattr(func, "__name__", "") == "__get__" and asked in attributes:
                return attributes[asked]
            if func is tensors.get_device:
                return 0
            if func is tensors.cuda:
                return args[0]
            return func(*_here(args), **_here(kwargs or {}))

    return Disguise()


def _here(tree: Any) -> Any:
    """The same arguments with every GPU's device replaced by the CPU."""
    import torch

    if isinstance(tree, torch.device):
        return torch.device("cpu") if tree.type == "cuda" else tree
    if isinstance(tree, str):
        return "cpu" if tree.partition(":")[0] == "cuda" else tree
    if type(tree) in (list, tuple):
        return type(tree)(_here(item) for item in tree)
    if type(tree) is dict:
        return {name: _here(item) for name, item in tree.items()}
    return tree
