"""What a child does on a CPU where one on a GPU does something else: see `child_cuda`. torch inside functions."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class CpuDevice:
    """The processor: what was called is done when it returns, and outputs are read where they lie."""

    def open(self, descriptor: int, size: int) -> tuple[Any, int]:
        """Map memory that the judge made; return it and where it lies."""
        import torch

        memory = mmap.mmap(descriptor, size)
        os.close(descriptor)
        return memory, torch.frombuffer(memory, dtype=torch.uint8).data_ptr()

    def close(self, memory: Any) -> None:
        """Leave memory to the last view of it."""

    def view(self, memory: Any, dtype: Any, start: int, count: int) -> Any:
        """Return numbers in the judge's memory, with nothing else in their storage."""
        import torch

        return torch.frombuffer(memory, dtype=dtype, count=count, offset=start)

    def synchronize(self) -> None:
        """Nothing is under way."""

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Nothing has to be waited for."""
        yield

    def elapsed_ns(self) -> int | None:
        """There is no clock of a device."""
        return None

    def flush(self) -> None:
        """The inputs of a series are more than the cache, or they are not: nothing is flushed."""

    def call_times_ns(self, calls: Sequence[Callable[[], Any]], lead_s: float) -> list[int]:
        """There is no device time."""
        return []

    def peak_bytes(self) -> int | None:
        """The judge reads it from /proc."""
        return None

    def deliver(self, tensors: list[Any], sinks: list[Any]) -> None:
        """The judge reads outputs where they lie."""


class StagedCpuDevice(CpuDevice):
    """A processor that a child treats like a GPU: outputs are copied out, and there is a second clock and a flush.

    It lets the GPU's way through judge and timer be walked without one; nothing is judged on it.
    """

    def __init__(self) -> None:
        import torch

        self._copy = torch._C.TensorBase.copy_
        self._scratch = bytearray(1 << 20)
        self._began_ns = self._ended_ns = 0

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Note the time before and after."""
        self._began_ns = time.perf_counter_ns()
        yield
        self._ended_ns = time.perf_counter_ns()

    def elapsed_ns(self) -> int | None:
        """Return what the last timing took."""
        return self._ended_ns - self._began_ns

    def flush(self) -> None:
        """Write some memory."""
        self._scratch[:] = bytes(len(self._scratch))

    def call_times_ns(self, calls: Sequence[Callable[[], Any]], lead_s: float) -> list[int]:
        """Return the time of each call."""
        found = []
        for call in calls:
            self.flush()
            with self.timing():
                call()
            found.append(self._ended_ns - self._began_ns)
        return found

    def deliver(self, tensors: list[Any], sinks: list[Any]) -> None:
        """Copy outputs to where the judge wants them."""
        for tensor, sink in zip(tensors, sinks, strict=False):
            if tensor.shape == sink.shape and tensor.dtype == sink.dtype:
                self._copy(sink, tensor)
