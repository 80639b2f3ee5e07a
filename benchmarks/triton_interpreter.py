"""What Triton's interpreter computes rightly in fp16 and bf16, and what a program costs: why bf16 is judged in fp16.

Run: `python -m benchmarks.triton_interpreter` (ten seconds; sets TRITON_INTERPRET itself). It prints, and writes
`results/triton_interpreter.json`. Another Triton or numpy: `pip install --target`, and PYTHONPATH.
"""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"  # looked at when Triton is imported

import importlib.metadata
import time
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from triton.runtime.errors import InterpreterError

from benchmarks.measurement import write

N = 1024


@triton.jit
def _cast(x_ptr, y_ptr, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    tl.store(y_ptr + place, tl.load(x_ptr + place).to(tl.float32))


@triton.jit
def _add(x_ptr, y_ptr, z_ptr, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    tl.store(z_ptr + place, tl.load(x_ptr + place) + tl.load(y_ptr + place))


@triton.jit
def _sum(x_ptr, z_ptr, BLOCK: tl.constexpr):
    tl.store(z_ptr, tl.sum(tl.load(x_ptr + tl.arange(0, BLOCK))))


@triton.jit
def _dot(x_ptr, y_ptr, z_ptr, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    tl.store(z_ptr + place, tl.dot(tl.load(x_ptr + place), tl.load(y_ptr + place)))


@triton.jit
def _atomic(x_ptr, z_ptr, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    tl.atomic_add(z_ptr + place * 0, tl.load(x_ptr + place))


@triton.jit
def _tiles(x_ptr, z_ptr, width, BLOCK: tl.constexpr):
    total = tl.zeros((BLOCK,), tl.float32)
    for tile in range(0, tl.cdiv(width, BLOCK)):  # noqa: PIE808 - as kernels write it
        total += tl.load(x_ptr + tile * BLOCK + tl.arange(0, BLOCK))
    tl.store(z_ptr, tl.sum(total))


def run(launch: Callable[[], Any]) -> Any:
    """Return a finding, or the error that came instead."""
    try:
        return launch()
    except (InterpreterError, TypeError) as error:
        return f"fails: {error}"[:200]


def compared(found: torch.Tensor, wanted: torch.Tensor) -> dict[str, Any]:
    """How many numbers differ, and how much they are off in relation to the largest."""
    error = (found.double() - wanted.double()).abs().nan_to_num(torch.inf)
    return {
        "share_that_differs": float((found != wanted).double().mean()),
        "largest_error": float(error.max() / wanted.double().abs().max()),
    }


def findings(dtype: torch.dtype) -> dict[str, Any]:
    """Try casts, sums, products and atomics in one dtype."""
    generator = torch.Generator().manual_seed(0)
    x, y, wide = (torch.randn(N, generator=generator) for _ in range(3))
    x, y = x.to(dtype), y.to(dtype)
    same, one, square = torch.empty(N, dtype=dtype), torch.zeros(1), torch.empty(32, 32)

    def upcast() -> Any:
        found = torch.empty(N)
        _cast[(1,)](x, found, BLOCK=N)
        return compared(found, x.float())

    def downcast() -> Any:
        _cast[(1,)](wide, same, BLOCK=N)
        rounding = {"mean_relative_error": float(((same.float() - wide) / wide).mean())}
        rounding["of_torch"] = float(((wide.to(dtype).float() - wide) / wide).mean())
        return compared(same, wide.to(dtype)) | rounding

    def add() -> Any:
        _add[(1,)](x, y, same, BLOCK=N)
        return compared(same, x + y)

    def reduce() -> Any:
        _sum[(1,)](x, one, BLOCK=N)
        return {"found": float(one), "right": float(x.double().sum())}

    def dot() -> Any:
        left, right = x.reshape(32, 32), y.reshape(32, 32)
        _dot[(1,)](left, right, square, BLOCK=32)
        return compared(square, left.float() @ right.float())

    def atomic() -> Any:
        total = torch.zeros(1, dtype=dtype)
        _atomic[(1,)](x, total, BLOCK=N)
        return {"found": float(total), "right": float(x.double().sum())}

    parts = (upcast, downcast, add, reduce, dot, atomic)
    return {part.__name__: run(part) for part in parts}


def milliseconds_a_program() -> float:
    """CPU time of one program that loads, casts and stores 1,024 numbers."""
    x, y = torch.ones(N), torch.empty(N)
    began = time.process_time()
    _cast[(1000,)](x, y, BLOCK=N)
    return time.process_time() - began


def tiles() -> float:
    """The sum of 1,024 ones by `range(0, tl.cdiv(…))`."""
    total = torch.empty(1)
    _tiles[(1,)](torch.ones(N), total, N, BLOCK=128)
    return float(total)


def main() -> None:
    """Print and write what was found."""
    found = {
        "versions": {name: importlib.metadata.version(name) for name in ("triton", "numpy", "torch")},
        "fp16": findings(torch.float16),
        "bf16": findings(torch.bfloat16),
        "range_of_cdiv": run(tiles),
        "milliseconds_a_program": round(milliseconds_a_program(), 3),
    }
    for part in ("fp16", "bf16"):
        print(part, *(f"  {name}: {value}" for name, value in found[part].items()), sep="\n")
    print({name: value for name, value in found.items() if name not in ("fp16", "bf16")})
    write("triton_interpreter", [], {"provenance": "measured", "interpreter": found})


if __name__ == "__main__":
    main()
