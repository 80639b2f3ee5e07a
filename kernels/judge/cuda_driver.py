"""The CUDA driver's functions for memory that two processes share, and for its second-level cache. By ctypes.

Memory is made with `cuMemCreate` and handed over as a file descriptor, so that neither process namespaces, nor
`/dev/shm`, nor the right to trace another process play a part, as they do with `cudaIpcGetMemHandle`. Source: CUDA
Driver API, 6.14 (virtual memory management). Imports nothing of Joulegrid. Not yet run on a GPU; held against the
toolkit's own `cuda.h` by a simulated driver.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

LIBRARY = "libcuda.so.1"
OUT_OF_MEMORY = 2
_PINNED, _ON_DEVICE, _AS_DESCRIPTOR, _READ_AND_WRITE = 1, 1, 1, 3


class DriverError(RuntimeError):
    """The driver refused; `code` is a `CUresult`."""

    def __init__(self, function: str, code: int, name: str) -> None:
        super().__init__(f"{function}: {name}")
        self.code = code


class _Location(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("id", ctypes.c_int))


class _Flags(ctypes.Structure):
    _fields_ = (
        ("compression", ctypes.c_ubyte),
        ("remote", ctypes.c_ubyte),
        ("usage", ctypes.c_ushort),
        ("reserved", ctypes.c_ubyte * 4),
    )


class _Properties(ctypes.Structure):
    """`CUmemAllocationProp`."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("handles", ctypes.c_int),
        ("location", _Location),
        ("windows", ctypes.c_void_p),
        ("flags", _Flags),
    )


class _Access(ctypes.Structure):
    """`CUmemAccessDesc`."""

    _fields_ = (("location", _Location), ("flags", ctypes.c_int))


@dataclass(frozen=True, slots=True)
class Block:
    """Memory of one GPU, mapped in this process."""

    address: int
    size: int
    """A multiple of what the driver hands out at once: nothing else lies in it."""


class Driver:
    """The driver as one process sees it; the thread's context must be current. `OSError` where there is none."""

    def __init__(self, library: str = LIBRARY) -> None:
        self._library = ctypes.CDLL(library)

    def make(self, size: int, device: int) -> tuple[Block, int]:
        """Return new memory of a device, at least so many bytes, and a descriptor that another process opens it by."""
        properties = _Properties(_PINNED, _AS_DESCRIPTOR, _Location(_ON_DEVICE, device))
        whole = self._whole(size, properties)
        handle, descriptor = ctypes.c_ulonglong(), ctypes.c_int(-1)
        self._call("cuMemCreate", ctypes.byref(handle), ctypes.c_size_t(whole), ctypes.byref(properties), _none())
        try:
            how = ctypes.c_int(_AS_DESCRIPTOR)
            self._call("cuMemExportToShareableHandle", ctypes.byref(descriptor), handle, how, _none())
            return self._mapped(handle, whole, device), descriptor.value
        finally:
            self._call("cuMemRelease", handle)  # mapping and descriptor keep the memory

    def open(self, descriptor: int, size: int, device: int) -> Block:
        """Map the memory that another process made with this size."""
        properties = _Properties(_PINNED, _AS_DESCRIPTOR, _Location(_ON_DEVICE, device))
        handle = ctypes.c_ulonglong()
        given, how = ctypes.c_void_p(descriptor), ctypes.c_int(_AS_DESCRIPTOR)
        self._call("cuMemImportFromShareableHandle", ctypes.byref(handle), given, how)
        try:
            return self._mapped(handle, self._whole(size, properties), device)
        finally:
            self._call("cuMemRelease", handle)

    def close(self, block: Block) -> None:
        """Unmap memory; it is given back when no process has it mapped and no descriptor is open."""
        address, size = ctypes.c_ulonglong(block.address), ctypes.c_size_t(block.size)
        self._call("cuMemUnmap", address, size)
        self._call("cuMemAddressFree", address, size)

    def forget_persisting_lines(self) -> None:
        """Make lines that were to stay in the second-level cache ordinary ones again."""
        self._call("cuCtxResetPersistingL2Cache")

    def _whole(self, size: int, properties: _Properties) -> int:
        """The size in whole pieces of what the driver hands out."""
        piece = ctypes.c_size_t()
        minimum = ctypes.c_int(0)
        self._call("cuMemGetAllocationGranularity", ctypes.byref(piece), ctypes.byref(properties), minimum)
        return max(1, -(-size // piece.value)) * piece.value

    def _mapped(self, handle: ctypes.c_ulonglong, size: int, device: int) -> Block:
        address, length = ctypes.c_ulonglong(), ctypes.c_size_t(size)
        anywhere = ctypes.c_ulonglong(0)
        self._call("cuMemAddressReserve", ctypes.byref(address), length, ctypes.c_size_t(0), anywhere, _none())
        self._call("cuMemMap", address, length, ctypes.c_size_t(0), handle, _none())
        access = _Access(_Location(_ON_DEVICE, device), _READ_AND_WRITE)
        self._call("cuMemSetAccess", address, length, ctypes.byref(access), ctypes.c_size_t(1))
        return Block(address.value, size)

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            name = ctypes.c_char_p()
            self._library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(name))
            raise DriverError(function, code, (name.value or b"an unknown error").decode())


def as_tensor(address: int, size: int) -> Any:
    """Return a tensor of bytes over memory of the current GPU, which it does not own (`__cuda_array_interface__`)."""
    import torch

    class Span:
        __cuda_array_interface__ = {"shape": (size,), "typestr": "|u1", "data": (address, False), "version": 3}  # noqa: RUF012

    return torch.as_tensor(Span(), device="cuda")


def _none() -> ctypes.c_ulonglong:
    """Flags that must be zero."""
    return ctypes.c_ulonglong(0)
