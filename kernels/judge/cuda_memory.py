"""Memory of the judge's GPU that a child opens by a descriptor, and what must hold before there can be any.

Not yet run on a GPU.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from joulegrid.errors import PreFlightError
from joulegrid.kernels.judge.cuda_driver import OUT_OF_MEMORY, Block, Driver, DriverError, as_tensor

PASSED_ON = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH", "CC")
"""Variables that a GPU's child gets: which GPU is the judge's, where its libraries are, what Triton compiles with."""


class CudaMemory:
    """A piece of shared memory on the judge's current GPU; `PreFlightError` where there is not so much."""

    def __init__(self, size: int) -> None:
        import torch

        require_gpu()
        torch.cuda.synchronize()  # makes the context current that the driver's functions work in
        self._driver = Driver()
        self._block, self.descriptor = self._made(size)
        self.bytes = as_tensor(self._block.address, size)

    def read(self, start: int, end: int) -> Any:
        """Return a copy of some bytes, for a hash."""
        return self.bytes[start:end].cpu().numpy()

    def close(self) -> None:
        """Give it back; nothing of this process may lie in it any more."""
        import torch

        self.bytes = None
        torch.cuda.synchronize()
        with contextlib.suppress(OSError):
            os.close(self.descriptor)
        self._driver.close(self._block)

    def _made(self, size: int) -> tuple[Block, int]:
        import torch

        device = torch.cuda.current_device()
        try:
            try:
                return self._driver.make(size, device)
            except DriverError as error:
                if error.code != OUT_OF_MEMORY:
                    raise
                torch.cuda.empty_cache()  # what torch's allocator keeps for later
                return self._driver.make(size, device)
        except DriverError as error:
            free, total = torch.cuda.mem_get_info()
            raise PreFlightError(
                f"{size:,} bytes to share on the GPU cannot be had ({error}); {free:,} of {total:,} are free; take a"
                " smaller shape, or end what else uses the GPU"
            ) from error


def require_gpu() -> None:
    """Initialise CUDA in the judge: what a child may open must be there before it is confined. `PreFlightError`."""
    import torch

    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without CUDA
        reason = str(error).strip().partition("\n")[0]
        raise PreFlightError(f"device cuda: torch cannot use a GPU here: {reason}; see `joulegrid doctor`") from error


def driver_environment(environment: Mapping[str, str], maps: str) -> dict[str, str]:
    """Return what a child's GPU libraries need of an environment; `maps` (of /proc/self) says where the driver lies.

    Without `TRITON_LIBCUDA_PATH` Triton asks `ldconfig`, which knows nothing of a driver in a folder of its own.
    """
    found = {name: environment[name] for name in PASSED_ON if environment.get(name) is not None}
    for folder in _driver_folders(maps):
        found.setdefault("TRITON_LIBCUDA_PATH", folder)
    return found


def own_driver_environment() -> dict[str, str]:
    """Return the same of this process, in which CUDA is initialised."""
    return driver_environment(os.environ, Path("/proc/self/maps").read_text(encoding="utf-8"))


def driver_folders(environment: Mapping[str, str]) -> list[str]:
    """Return the folders that a child must be able to load libraries from, besides the system's."""
    named = [*environment.get("LD_LIBRARY_PATH", "").split(":"), environment.get("TRITON_LIBCUDA_PATH", "")]
    return list(dict.fromkeys(one for one in named if one.startswith("/") and Path(one).is_dir()))


def _driver_folders(maps: str) -> Iterator[str]:
    for line in maps.splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith("libcuda.so."):
            yield str(path.parent)
