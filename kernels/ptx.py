"""What PTX and the log of ptxas tell of a compiled kernel. Pure text, by regular expressions; nothing is run.

Source: NVIDIA's Parallel Thread Execution ISA, on `ld`, `st`, `cp.async`, `wgmma.mma_async`, `mma`, `atom` and `red`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

_ACCESS = re.compile(r"\b(ld|st)\.global((?:\.[\w:]+)*)\s")
_ASYNC_COPY = re.compile(
    r"\bcp\.async\.c[ag]\.shared\.global(?:\.[\w:]+)*\s+\[[^\]]+\],\s*\[[^\]]+\],\s*(0x[0-9a-f]+|\d+)"
)
_VECTOR = re.compile(r"\.v(\d)")
_ELEMENT = re.compile(r"\.[bufs](8|16|32|64|128)$")
_REGISTERS = re.compile(r"Used (\d+) registers")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


@dataclass(frozen=True, slots=True)
class PtxFacts:
    """Instructions of a kernel's text; a loop's body is counted once, however often it runs."""

    load_bits: dict[int, int]
    """Bits that one thread loads from global memory with one instruction → such instructions."""
    store_bits: dict[int, int]
    """The same of stores."""
    copy_bits: dict[int, int]
    """The same of asynchronous copies from global into shared memory."""
    bulk_copies: int
    """Copies by the tensor memory accelerator."""
    wgmma: int
    mma: int
    atomics: int


@dataclass(frozen=True, slots=True)
class Resources:
    """What ptxas says that a thread needs."""

    registers: int
    stack_bytes: int
    spill_store_bytes: int
    spill_load_bytes: int


def read_ptx(text: str) -> PtxFacts:
    """Count the instructions that decide how a kernel uses memory and tensor cores."""
    accesses: dict[str, Counter[int]] = {"ld": Counter(), "st": Counter()}
    for direction, modifiers in _ACCESS.findall(text):
        element = _ELEMENT.search(modifiers)
        if element is not None:
            vector = _VECTOR.search(modifiers)
            accesses[direction][int(element[1]) * (int(vector[1]) if vector else 1)] += 1
    copies = Counter(8 * int(size, 0) for size in _ASYNC_COPY.findall(text))
    return PtxFacts(
        load_bits=dict(sorted(accesses["ld"].items())),
        store_bits=dict(sorted(accesses["st"].items())),
        copy_bits=dict(sorted(copies.items())),
        bulk_copies=text.count("cp.async.bulk.tensor"),
        wgmma=text.count("wgmma.mma_async"),
        mma=len(re.findall(r"\bmma\.sync", text)),
        atomics=len(re.findall(r"\b(?:atom|red)\.(?:\w+\.)*global", text)),
    )


def read_ptxas(log: str) -> Resources | None:
    """Return what `ptxas -v` said of the last kernel in its log; `None` where the log says nothing."""
    registers, frame = _REGISTERS.findall(log), _FRAME.findall(log)
    if not registers or not frame:
        return None
    stack, stores, loads = map(int, frame[-1])
    return Resources(int(registers[-1]), stack, stores, loads)
