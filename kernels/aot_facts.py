"""What is known of a candidate's kernels once they are compiled ahead of time, and what to do about it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

SHARED_BYTES = 232_448
"""Shared memory that one block may have on compute capability 9.0: 227 KiB (CUDA C Programming Guide)."""
REGISTERS = 65_536
"""Registers of a multiprocessor; handed out to a warp by 256."""
WARPS = 64
"""Warps that a multiprocessor can hold."""
BLOCKS = 32
"""Blocks that it can hold."""
MULTIPROCESSORS = 132
"""Of an H100 or H200 in its SXM form."""
SM_SHARED_BYTES = 233_472
"""Shared memory of a multiprocessor: 228 KiB, of which each block takes 1 KiB for itself."""


class Facts(BaseModel):
    """Frozen, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KernelFacts(Facts):
    """One compiled kernel: one function with one set of argument types, constants and options."""

    kernel: str
    """The function's name."""
    signature: dict[str, str]
    """Arguments that are not constants → their types as Triton writes them."""
    constants: dict[str, str]
    """Constants that it was compiled for, integers of value 1 among them."""
    num_warps: int
    """Warps of a program."""
    num_stages: int
    """Stages of software pipelines."""
    grid: tuple[int, int, int]
    """Programs along each axis."""
    registers: int | None
    """Registers of a thread; null where ptxas did not say."""
    spill_bytes: int | None
    """Bytes that a thread stores into and loads from memory because registers do not suffice; null likewise."""
    stack_bytes: int | None
    """A thread's frame in local memory; null likewise."""
    shared_bytes: int
    """Shared memory of a program."""
    resident_warps: int | None
    """Warps that a multiprocessor can hold of it, of 64, by registers and shared memory; modelled."""
    load_bits: dict[int, int]
    """Bits that a thread loads from global memory by one instruction → number of such instructions."""
    store_bits: dict[int, int]
    """The same of stores."""
    copy_bits: dict[int, int]
    """The same of asynchronous copies into shared memory."""
    bulk_copies: int
    """Copies by the tensor memory accelerator."""
    tensor_cores: Literal["wgmma", "mma", "none"]
    """Instructions for matrix products that occur."""
    atomics: int
    """Atomic instructions on global memory."""
    compile_s: float
    """What compiling took."""
    advice: tuple[str, ...] = ()
    """What stands in the way of speed, in words."""


class CallFacts(Facts):
    """One call of the candidate's forward, on one shape in one dtype."""

    shape: str
    """The shape's name."""
    dtype: str
    """`fp32`, `fp16` or `bf16`."""
    kernels: tuple[KernelFacts, ...]
    """Kernels in the order of their launches."""
    error: str | None
    """Why a kernel did not compile or the call raised; null where neither."""

    @property
    def spills(self) -> bool:
        """Whether some kernel spills registers."""
        return any(kernel.spill_bytes for kernel in self.kernels)


class AheadOfTime(Facts):
    """A candidate compiled for a GPU that is not there. Advice for its author, never evidence for or against it."""

    target: str
    """`sm_90`: H100, H200."""
    triton: str | None
    """Triton's version; null where it could not be imported."""
    candidate_sha256: str
    """Hash of the candidate's source."""
    calls: tuple[CallFacts, ...]
    """One for each shape and dtype, in order; fewer where the process ended before."""
    error: str | None
    """Why there is nothing more: the file does not load, the process died or its time was up."""
    isolation: dict[str, bool | int | str | None] = {}
    """What confined the process; false, with a reason beside it, for what this machine refused."""
    seconds: float
    """What all of it took, starting Python and torch included."""
    provenance: Literal["compiled"] = "compiled"
    """Read from compiled code: nothing was run on a GPU."""
    trust: Literal["reported"] = "reported"
    """By the process that the candidate's code ran in, which could lie."""


def resident_warps(num_warps: int, registers: int, shared_bytes: int) -> int:
    """Return the warps of such programs that fit a multiprocessor of compute capability 9.0 (occupancy rules)."""
    by_registers = REGISTERS // (-(-registers * 32 // 256) * 256) // num_warps
    by_shared = SM_SHARED_BYTES // (shared_bytes + 1024)
    return num_warps * min(by_registers, by_shared, WARPS // num_warps, BLOCKS)


def advice_for(facts: KernelFacts, *, uses_dot: bool) -> tuple[str, ...]:
    """Return what an author could do, most urgent first."""
    programs = facts.grid[0] * facts.grid[1] * facts.grid[2]
    widest = max([*facts.load_bits, *facts.copy_bits, 0])
    said = [
        (facts.shared_bytes > SHARED_BYTES,
         f"{facts.shared_bytes} bytes of shared memory, but a block has {SHARED_BYTES}: smaller tiles, fewer stages"),
        (bool(facts.spill_bytes),
         f"{facts.spill_bytes} bytes of registers are spilled to memory: more warps or a smaller block"),
        (bool(facts.stack_bytes) and not facts.spill_bytes,
         f"{facts.stack_bytes} bytes of stack without spills: an array that is indexed by a variable"),
        (uses_dot and facts.tensor_cores == "none",
         "tl.dot compiles to plain multiplications: fp32 with input_precision 'ieee', or a tile under 16"),
        (0 < widest < 128 and not facts.bulk_copies,
         f"no load is wider than {widest} bits: is the last stride 1, are rows a multiple of 16 bytes apart?"),
        (bool(facts.store_bits) and max(facts.store_bits, default=0) < 32 and programs > MULTIPROCESSORS,
         f"no store is wider than {max(facts.store_bits, default=0)} bits"),
        (0 < programs < 0.9 * MULTIPROCESSORS,
         f"a grid of {programs}: some of {MULTIPROCESSORS} multiprocessors stay idle"),
        (facts.resident_warps is not None and facts.resident_warps < 8,
         f"{facts.resident_warps} warps fit a multiprocessor: memory is waited for"),
    ]  # fmt: skip
    return tuple(words for holds, words in said if holds)
