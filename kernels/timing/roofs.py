"""What this machine's memory and arithmetic can do at most: measured by probes, the best ever seen, kept by device.

Three probes: a copy and a sum over more memory than the caches hold (bytes per second, the better of the two), and a
product of square matrices in each dtype. A roof that is too low would call an honest kernel impossible, so the best of
several repetitions counts, a later better one replaces an earlier one, and callers allow a margin below it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from joulegrid.kernels.device import device_name, synchronize, torch_dtype

_log = logging.getLogger(__name__)
REPEATS = {"cpu": 5, "cuda": 20}
"""A GPU's clock has risen after some."""
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_LARGEST_PROBE = 512 << 20
_GPU_PROBE = 4 << 30
_GEMM_SIZES = {"cpu": 768, "cuda": 8192}
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Roofs(BaseModel):
    """The most that a device was seen to do."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    device: str
    """What the board or processor calls itself."""
    threads: int | None
    """CPU threads of the probes; null on a GPU."""
    bytes_per_s: float
    """Copy (read and written bytes) or sum (read bytes), whichever was faster."""
    flops_per_s: dict[str, float]
    """Product of square matrices, by dtype."""
    cache_bytes: int | None
    """Size of the last-level cache; null where the machine hides it."""
    provenance: Literal["measured", "simulated"] = "measured"
    """Probes here, or numbers of a test."""

    def peak(self, dtype: str) -> float:
        """Return the arithmetic roof for a dtype: its own or fp32's, where that is higher."""
        return max(self.flops_per_s.get(dtype, 0.0), self.flops_per_s.get("fp32", 0.0))


def machine_roofs(device: str, dtype: str, *, again: bool = False) -> Roofs:
    """Return the roofs of this machine for the threads that torch uses now, from the cache or measured.

    `again` measures anew and keeps what is higher. The cache is `$XDG_CACHE_HOME/joulegrid/roofs`, else the same below
    `~/.cache`; where it cannot be written the roofs are measured each time.
    """
    path = _kept_at(device)
    kept = _read(path)
    if kept is not None and dtype in kept.flops_per_s and not again:
        return kept
    found = _measure(device, {dtype, "fp32"})
    better = found if kept is None else _higher(kept, found)
    _write(path, better)
    return better


def cache_bytes(device: str) -> int | None:
    """Return the size of the last-level cache; `None` where the machine does not tell."""
    if device == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(0).L2_cache_size)
    sizes = [_size(path.read_text(encoding="ascii")) for path in _CACHES.glob("index*/size")]
    return max(sizes, default=None)


def _size(text: str) -> int:
    text = text.strip()
    return int(text[:-1]) * _UNITS[text[-1]] if text[-1:] in _UNITS else int(text)


def _measure(device: str, dtypes: set[str]) -> Roofs:
    import torch

    return Roofs(
        device=device_name(device),
        threads=None if device == "cuda" else torch.get_num_threads(),
        bytes_per_s=_memory(device),
        flops_per_s={dtype: _arithmetic(device, dtype) for dtype in sorted(dtypes)},
        cache_bytes=cache_bytes(device),
    )


def _memory(device: str) -> float:
    import torch

    size = _probe_bytes(device)
    source = torch.ones(size // 4, dtype=torch.float32, device=device)
    target = torch.ones_like(source)
    copied = 2 * size / _best_s(device, lambda: target.copy_(source))
    return max(copied, size / _best_s(device, source.sum))


def _arithmetic(device: str, dtype: str) -> float:
    import torch

    n = _GEMM_SIZES[device]
    left = torch.ones(n, n, dtype=torch_dtype(dtype), device=device)
    plain = 2 * n**3 / _best_s(device, lambda: left @ left)
    if device != "cuda" or dtype != "fp32":
        return plain
    with _tf32():  # three such products make one of float32, faster than the units for float32 do
        return max(plain, 2 * n**3 / _best_s(device, lambda: left @ left) / 3)


@contextmanager
def _tf32() -> Iterator[None]:
    import torch

    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def _probe_bytes(device: str) -> int:
    """More than the caches hold; on a GPU so much that starting and waiting are below a hundredth of the time."""
    if device == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info()
        return int(min(_GPU_PROBE, free // 8))
    wanted = 2 * (cache_bytes(device) or _LARGEST_PROBE // 2)
    return min(max(wanted, 64 << 20), _LARGEST_PROBE)


def _best_s(device: str, work: Callable[[], Any]) -> float:
    work()
    best = math.inf
    for _ in range(REPEATS[device]):
        synchronize(device)
        began_ns = time.perf_counter_ns()
        work()
        synchronize(device)
        best = min(best, (time.perf_counter_ns() - began_ns) / 1e9)
    return best


def _higher(one: Roofs, other: Roofs) -> Roofs:
    dtypes = one.flops_per_s.keys() | other.flops_per_s.keys()
    flops = {name: max(one.flops_per_s.get(name, 0.0), other.flops_per_s.get(name, 0.0)) for name in sorted(dtypes)}
    faster = max(one.bytes_per_s, other.bytes_per_s)
    return other.model_copy(update={"bytes_per_s": faster, "flops_per_s": flops})


def _kept_at(device: str) -> Path:
    import torch

    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "joulegrid" / "roofs"
    threads = "" if device == "cuda" else f"-{torch.get_num_threads()}"
    name = "".join(letter if letter.isalnum() else "-" for letter in device_name(device))
    return root / f"{name}{threads}-torch-{torch.__version__}.json"


def _read(path: Path) -> Roofs | None:
    try:
        return Roofs.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None  # nothing there, or of another version: it is measured again


def _write(path: Path, roofs: Roofs) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(roofs.model_dump(), indent=1), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        _log.warning("roofs: %s cannot be written (%s); they are measured again each time", path, error.strerror)
