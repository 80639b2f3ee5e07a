"""What holds in Triton's interpreter, and how a candidate is run in it: `TRITON_INTERPRET=1` before Triton is imported.

The interpreter runs each program of a grid in Python over numpy arrays, one after the other: it shows what a kernel
computes, on a CPU. It shows nothing of speed, of races between programs, or of the compiler. Stores outside a tensor
go where they point to, so that it belongs into a process of its own, with guard bands around every tensor.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

ENVIRONMENT: Mapping[str, str] = MappingProxyType({"TRITON_INTERPRET": "1"})
"""What must be in the environment when Triton is imported: `@triton.jit` looks at it while a candidate is read."""

PROXY_DTYPES: Mapping[str, str] = MappingProxyType({"fp32": "fp32", "fp16": "fp16", "bf16": "fp16"})
"""Dtype of a case → the one that its Triton candidates are interpreted in.

bf16 lies as 16-bit integers in the interpreter: sums and products are those of the bit patterns, and a cast from fp32
cuts digits off instead of rounding (docs/triton-without-a-gpu.md). fp16 is as wide and computed by numpy, rounded
properly; it has three more digits and a smaller range, so that limits are tighter and numbers above 65,504 infinite.
"""

_ADVICE = {
    "extern_elementwise not supported": "libdevice is not interpreted: write the function from tl.exp and tl.log",
    "inline_asm not supported": "inline assembly is not interpreted",
    "0 active drivers": "@triton.autotune asks for a GPU when the file is read: choose a configuration and freeze it",
    "only 0-dimensional arrays": "Triton 3.6 needs numpy < 2.4 for range(0, tl.cdiv(…)): install Triton 3.7",
    "operands could not be broadcast": "shapes of blocks do not fit, or a mask has another shape than its pointers",
}


@dataclass(frozen=True, slots=True)
class Versions:
    """What the interpreter's arithmetic depends on; `None` where it is not installed."""

    triton: str | None
    numpy: str | None


def versions() -> Versions:
    """Return the installed versions, without importing anything."""
    return Versions(_version("triton"), _version("numpy"))


def refusal() -> str | None:
    """Say why no Triton candidate can be interpreted here, or return `None` when it can."""
    found = versions()
    if found.triton is None:
        return "Triton is not installed; `pip install joulegrid[kernels]`"
    if found.numpy is None:
        return "Triton's interpreter needs numpy; `pip install numpy`"
    if _pair(found.triton) < (3, 7) and _pair(found.numpy) >= (2, 4):
        return (
            f"Triton {found.triton} does not interpret range(0, tl.cdiv(…)) with numpy {found.numpy}; install"
            " triton>=3.7 or numpy<2.4"
        )
    return None


def advice_for(message: str) -> str:
    """Return what the author of a candidate can do about an error of the interpreter; empty where nothing is known."""
    return next((advice for part, advice in _ADVICE.items() if part in message), "")


def _version(package: str) -> str | None:
    if importlib.util.find_spec(package) is None:
        return None
    return importlib.metadata.version(package)


def _pair(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)
