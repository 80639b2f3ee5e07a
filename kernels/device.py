"""What a device can do, how to wait for it, and what memory was used. Not what it costs: that is the sampler's.

`device` is `cuda` or `cpu` throughout; torch is imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

BF16_CAPABILITY = (8, 0)
"""Lowest CUDA compute capability with bfloat16 units (Ampere); CUDA C Programming Guide, arithmetic throughput."""

PINNED: dict[str, Any] = {
    "cuda.matmul.fp32_precision": "ieee",
    "cudnn.conv.fp32_precision": "ieee",
    "cudnn.rnn.fp32_precision": "ieee",
    "mkldnn.matmul.fp32_precision": "ieee",
    "mkldnn.conv.fp32_precision": "ieee",
    "mkldnn.rnn.fp32_precision": "ieee",
    "cuda.matmul.allow_fp16_reduced_precision_reduction": False,
    "cuda.matmul.allow_bf16_reduced_precision_reduction": False,
    "cuda.matmul.allow_fp16_accumulation": False,
}
"""Flags under `torch.backends`, and what they are while something is judged; torch documents them under numerical
accuracy."""


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """The most memory that was in use, and which kind of count it is."""

    bytes: int | None
    kind: Literal["cuda_allocated", "rss_max"]


def torch_dtype(precision: str) -> Any:
    """Return torch's dtype for `fp32`, `fp16` or `bf16`; `KeyError` for anything else."""
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def synchronize(device: str) -> None:
    """Wait until the device has done all that was queued; nothing to wait for on `cpu`."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def refusal(precision: str, device: str) -> str | None:
    """Say why this device cannot compute in this precision, or return `None` when it can.

    A product of two 16×16 matrices is really computed. On CUDA, bfloat16 also needs compute capability 8.0: older
    boards emulate it, which would time something else than what was asked for.
    """
    import torch

    if device == "cuda" and precision == "bf16" and torch.cuda.get_device_capability() < BF16_CAPABILITY:
        major, minor = torch.cuda.get_device_capability()
        return f"{device_name(device)} has compute capability {major}.{minor}; bf16 needs 8.0; take fp16 or fp32"
    try:
        square = torch.ones(16, 16, dtype=torch_dtype(precision), device=device)
        product = (square @ square).float().sum().item()
    except torch.OutOfMemoryError:
        raise  # a full device says nothing of what it can compute
    except RuntimeError as error:  # torch's answer to an operation that a device lacks
        return f"{device_name(device)} cannot multiply in {precision}: {error}"
    return None if product == 16.0**3 else f"{device_name(device)} multiplies wrongly in {precision}"


def supports(precision: str, device: str) -> bool:
    """Tell whether the device really computes in this precision."""
    return refusal(precision, device) is None


@contextmanager
def single_threaded() -> Iterator[None]:
    """Compute on one core inside the block: handing tiny tensors to a busy machine's threads takes longer."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def pinned_precision() -> Iterator[None]:
    """Compute inside the block in the precision that dtypes name, and put the flags back: see `pin_precision`."""
    before = precision_flags()
    pin_precision()
    try:
        yield
    finally:
        _set_precision(before)


def pin_precision() -> None:
    """Switch off TF32 and bf16 inside float32 products, reductions in 16 bits, and flushing of subnormal numbers.

    Judge and both members of a pair call it, so that none computes in less than the others.
    """
    import torch

    _set_precision(PINNED)
    torch.set_flush_denormal(False)


def precision_flags() -> dict[str, Any]:
    """Return torch's flags that change how precisely products and convolutions are computed, by name."""
    import torch

    return {name: getattr(_flag_owner(torch.backends, name), name.rpartition(".")[2]) for name in PINNED}


def _set_precision(flags: Mapping[str, Any]) -> None:
    import torch

    for name, value in flags.items():
        setattr(_flag_owner(torch.backends, name), name.rpartition(".")[2], value)


def _flag_owner(root: Any, name: str) -> Any:
    for part in name.split(".")[:-1]:
        root = getattr(root, part)
    return root


def device_name(device: str) -> str:
    """Return what the board or the processor calls itself."""
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    return _proc_field(Path("/proc/cpuinfo"), "model name") or "cpu"


def reset_peak_memory(device: str) -> None:
    """Begin a new count of CUDA memory; the high-water mark of a CPU process cannot be lowered."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()


def peak_memory(device: str) -> PeakMemory:
    """Return the peak: tensors of torch's allocator since the reset on `cuda`, else resident memory of the process.

    The resident peak is `VmHWM` of proc(5) since the process began, pages shared with a parent included;
    `ru_maxrss` is not used because it outlives an exec. Unknown is `None`.
    """
    if device == "cuda":
        import torch

        return PeakMemory(int(torch.cuda.max_memory_allocated()), "cuda_allocated")
    kilobytes = (_proc_field(Path("/proc/self/status"), "VmHWM") or "").split()
    return PeakMemory(int(kilobytes[0]) * 1024 if kilobytes else None, "rss_max")


def _proc_field(path: Path, name: str) -> str | None:
    """The first value of a `name: value` line in a file of /proc; `None` where there is no such file or line."""
    if not path.is_file():
        return None
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
