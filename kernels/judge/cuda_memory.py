"""GPU memory that judge and child share: allocated by the judge, opened in the child by its CUDA IPC handle.

Straight from the CUDA runtime that torch has loaded, since torch's own sharing counts references in files that a
confined child cannot open. Source: CUDA Runtime API, 6.11 (cudaIpcGetMemHandle, cudaIpcOpenMemHandle). Imports nothing
of Joulegrid. Not yet run on a GPU.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

_HANDLE_BYTES = 64
_LAZY_ENABLE_PEER_ACCESS = 1


class _Handle(ctypes.Structure):
    _fields_ = (("reserved", ctypes.c_char * _HANDLE_BYTES),)


def allocate(size: int) -> int:
    """Return the address of new memory on the current GPU; `OSError` where there is not so much."""
    address = ctypes.c_void_p()
    _checked("cudaMalloc", ctypes.byref(address), ctypes.c_size_t(size))
    return address.value or 0


def release(address: int) -> None:
    """Give memory of `allocate` back."""
    _checked("cudaFree", ctypes.c_void_p(address))


def handle_of(address: int) -> str:
    """Return what another process opens this memory with, as hexadecimal text."""
    handle = _Handle()
    _checked("cudaIpcGetMemHandle", ctypes.byref(handle), ctypes.c_void_p(address))
    return bytes(memoryview(handle).cast("B")).hex()


def opened(handle: str) -> int:
    """Return the address at which another process's memory lies in this one."""
    address = ctypes.c_void_p()
    known = _Handle.from_buffer_copy(bytes.fromhex(handle))
    _checked("cudaIpcOpenMemHandle", ctypes.byref(address), known, ctypes.c_uint(_LAZY_ENABLE_PEER_ACCESS))
    return address.value or 0


def as_bytes(address: int, size: int) -> Any:
    """Return a tensor of bytes over memory of the current GPU, which it does not own."""
    import torch

    class Span:
        __cuda_array_interface__ = {"shape": (size,), "typestr": "|u1", "data": (address, False), "version": 3}  # noqa: RUF012

    return torch.as_tensor(Span(), device="cuda")


def _checked(name: str, *arguments: Any) -> None:
    code = getattr(_runtime(), name)(*arguments)
    if code:
        raise OSError(code, f"{name} failed with CUDA error {code}")


def _runtime() -> Any:
    """The CUDA runtime that torch has loaded; it also makes torch's context the current one."""
    import torch

    torch.cuda.current_stream()
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        path = line.split(maxsplit=5)[-1]
        if Path(path).name.startswith("libcudart.so"):
            return ctypes.CDLL(path)
    raise OSError(2, "torch has loaded no CUDA runtime")
