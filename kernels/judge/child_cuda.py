"""What a child does on a GPU: opens the judge's memory, waits for all streams, reads the device's clock, flushes.

Everything that a candidate could put something else in the place of is taken from torch's C part before a line of it
runs. That keeps out what Python code can do, no more: what is said here remains hearsay beside the judge's own clock.
Imports of Joulegrid only its neighbour; torch inside functions. Not yet run on a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from joulegrid.kernels.judge.cuda_driver import Driver, as_tensor

FLUSHED_CACHES = 4
"""So many times the second-level cache is written to push out what lies in it."""
CYCLES_PER_S = 2e9
"""No GPU of today runs faster: a pause of so many cycles is at least as long as it should be."""
LONGEST_LEAD_S = 2.0


class CudaDevice:
    """The current GPU."""

    def __init__(self) -> None:
        import torch

        torch.cuda.init()  # type: ignore[no-untyped-call]
        self._c = torch._C
        self._wait = torch._C._cuda_synchronize
        self._pause = torch._C._cuda_sleep
        self._copy, self._fill = torch._C.TensorBase.copy_, torch._C.TensorBase.fill_
        self._shape, self._dtype = torch._C.TensorBase.shape.__get__, torch._C.TensorBase.dtype.__get__  # type: ignore[attr-defined]
        self._event = torch._C._CudaEventBase
        self._record, self._between = self._event.record, self._event.elapsed_time
        self._peak = torch.cuda.max_memory_allocated
        self._device = torch.cuda.current_device()
        self._stream = torch.cuda.default_stream()
        self._driver = Driver()
        self._cache_bytes = int(torch.cuda.get_device_properties(self._device).L2_cache_size)
        self._blocks: dict[int, Any] = {}
        self._began, self._ended = self._new_event(), self._new_event()
        self._scratch: Any = None
        self._flushes = 0
        self._wait()

    def open(self, descriptor: int, size: int) -> tuple[Any, int]:
        """Map memory of the judge's GPU; return its address twice."""
        block = self._driver.open(descriptor, size, self._device)
        os.close(descriptor)
        self._blocks[block.address] = block
        return block.address, block.address

    def close(self, memory: int) -> None:
        """Unmap it once nothing that was called can touch it any more."""
        self._wait()
        self._driver.close(self._blocks.pop(memory))

    def view(self, memory: int, dtype: Any, start: int, count: int) -> Any:
        """Return numbers in the judge's memory, with nothing else in their storage."""
        return as_tensor(memory + start, count * dtype.itemsize).view(dtype)

    def synchronize(self) -> None:
        """Wait for the whole device, side streams included; an error of a kernel is raised here."""
        self._wait()

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Note the device's time before and after the block, and leave when all streams have done their work."""
        self._driver.forget_persisting_lines()
        self._record(self._began, self._stream)
        yield
        self._record(self._ended, self._stream)
        self._wait()

    def elapsed_ns(self) -> int | None:
        """Return what the last timing took by the device's clock."""
        return round(self._between(self._began, self._ended) * 1e6)

    def flush(self) -> None:
        """Write more than the second-level cache holds."""
        if self._scratch is None:
            import torch

            self._scratch = torch.empty(FLUSHED_CACHES * self._cache_bytes, dtype=torch.uint8, device="cuda")
        self._flushes += 1
        self._fill(self._scratch, self._flushes % 251)

    def call_times_ns(self, calls: Sequence[Callable[[], Any]], lead_s: float) -> list[int]:
        """Return the device time of each call, the cache flushed before it.

        The device pauses first, so that all calls are queued before the first begins: no gap of launching is counted.
        """
        events = [(self._new_event(), self._new_event()) for _ in calls]
        self.flush()
        self._wait()
        self._pause(int(min(lead_s, LONGEST_LEAD_S) * CYCLES_PER_S))
        for call, (began, ended) in zip(calls, events, strict=True):
            self.flush()
            self._record(began, self._stream)
            call()
            self._record(ended, self._stream)
        self._wait()
        return [round(self._between(began, ended) * 1e6) for began, ended in events]

    def peak_bytes(self) -> int | None:
        """Return the most that torch's allocator had given out."""
        return int(self._peak())

    def deliver(self, tensors: list[Any], sinks: list[Any]) -> None:
        """Copy outputs to where the judge wants them; those of another shape or dtype stay."""
        for tensor, sink in zip(tensors, sinks, strict=False):
            alike = self._shape(tensor) == self._shape(sink) and self._dtype(tensor) is self._dtype(sink)
            if alike:
                self._copy(sink, tensor)
        self._wait()

    def _new_event(self) -> Any:
        return self._event(enable_timing=True, blocking=False, interprocess=False)
