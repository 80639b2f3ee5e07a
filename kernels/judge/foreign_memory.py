"""Read another process's memory while it stands still: what a candidate returned, as it lies there."""

from __future__ import annotations

import ctypes
import errno
import math
import os
from dataclasses import dataclass
from typing import Any

from joulegrid.errors import PreFlightError

_MOST_BYTES = 1 << 30
SPAN_FACTOR = 16
"""Memory between a tensor's first and last element may be that many times its content."""


class Unreadable(Exception):  # noqa: N818 - an answer about the other process
    """There is no such memory in the process, or a tensor cannot lie like that."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tensor lies in memory, as its process says."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    device: str

    @classmethod
    def read(cls, said: Any) -> Layout:
        """Check what a process says of a tensor; `Unreadable` for what no tensor can be."""
        import torch

        try:
            layout = cls(said["address"], tuple(said["shape"]), tuple(said["strides"]), said["dtype"], said["device"])
        except (KeyError, TypeError) as error:
            raise Unreadable(f"a tensor described without {error}") from error
        if not isinstance(layout.dtype, str) or not isinstance(getattr(torch, layout.dtype, None), torch.dtype):
            raise Unreadable(f"a tensor of the dtype {layout.dtype!r:.80}")
        numbers = (layout.address, *layout.shape, *layout.strides)
        sane = all(type(number) is int and 0 <= number < 1 << 62 for number in numbers)
        if not sane or len(layout.shape) != len(layout.strides) or len(layout.shape) > 32:
            raise Unreadable(f"shape {layout.shape!r:.80}, strides {layout.strides!r:.80}")
        return layout

    @property
    def span(self) -> int:
        """Elements from the first to the last, both included."""
        if 0 in self.shape:
            return 0
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))


def read_tensor(pid: int, layout: Layout) -> Any:
    """Return a contiguous copy of a tensor in another process; `Unreadable` where its memory cannot be read."""
    import torch

    dtype = getattr(torch, layout.dtype)
    if not layout.span:
        return torch.empty(layout.shape, dtype=dtype)
    if layout.span > SPAN_FACTOR * max(math.prod(layout.shape), 4096):
        raise Unreadable(f"{layout.span} elements of memory for a tensor of shape {list(layout.shape)}")
    flat = torch.empty(layout.span, dtype=dtype)
    read_bytes(pid, layout.address, flat.data_ptr(), flat.nbytes)
    return flat.as_strided(layout.shape, layout.strides).contiguous()


def read_bytes(pid: int, source: int, target: int, count: int) -> None:
    """Copy bytes from another process's address to one of this process (process_vm_readv(2))."""
    done = 0
    while done < count:
        part = min(count - done, _MOST_BYTES)
        got = _vm_read(pid, source + done, target + done, part)
        if got <= 0:
            number = ctypes.get_errno()
            if number == errno.EPERM:
                raise PreFlightError(
                    "the judge may not read its child's memory (process_vm_readv: EPERM); kernel.yama.ptrace_scope must"
                    " be at most 1, and a container needs the right to trace its own processes"
                )
            raise Unreadable(f"{count} bytes at {source:#x}: {os.strerror(number)}")
        done += got


def _vm_read(pid: int, source: int, target: int, count: int) -> int:
    class Span(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    libc = ctypes.CDLL(None, use_errno=True)
    libc.process_vm_readv.restype = ctypes.c_ssize_t
    local, remote = Span(target, count), Span(source, count)
    one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
    return int(libc.process_vm_readv(pid, ctypes.byref(local), one, ctypes.byref(remote), one, none))
