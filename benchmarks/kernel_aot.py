"""What the hand-written Triton kernels compile to for an H100 or H200: every weighted shape and dtype of their cases.

No GPU is needed and nothing is run on one: registers, spills, shared memory and vector widths are read from code that
was compiled ahead of time for compute capability 9.0.

Run: `python -m benchmarks.kernel_aot [--case softmax …]` (about two minutes)
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.measurement import write
from joulegrid.cases.catalog import case_folder
from joulegrid.cases.manifest import read_problem
from joulegrid.kernels.aot import compile_ahead
from joulegrid.kernels.aot_facts import AheadOfTime, CallFacts, KernelFacts
from joulegrid.kernels.shipped import handwritten

NAME = "kernel_aot"


def main() -> None:
    """Compile, print a line a kernel, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", action="append", choices=sorted(handwritten()), help="only this one; several times")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for case in given.case or sorted(handwritten()):
        result = compile_ahead(handwritten()[case], read_problem(case_folder(case)))
        found[case] = result.model_dump(mode="json")
        print_result(case, result)
    if given.case is None:
        write("aot-sm90", [], {"command": f"python -m benchmarks.{NAME}", "provenance": "compiled", "kernels": found})


def print_result(case: str, result: AheadOfTime) -> None:
    """Print one line for each kernel, and what is wrong."""
    print(f"\n{case} ({result.seconds:.1f} s){f': {result.error}' if result.error else ''}")
    for call in result.calls:
        for kernel in call.kernels:
            print_kernel(call, kernel)
        if call.error:
            print(f"  {call.shape:8} {call.dtype}  {call.error}")


def print_kernel(call: CallFacts, kernel: KernelFacts) -> None:
    """Print what it needs and how it reads and writes."""
    kinds = {"ld": kernel.load_bits, "cp": kernel.copy_bits, "st": kernel.store_bits}
    widths = " ".join(f"{kind} {max(bits, default=0)}" for kind, bits in kinds.items())
    print(
        f"  {call.shape:8} {call.dtype}  {kernel.kernel:24} {kernel.num_warps:2} warps {kernel.registers} registers"
        f"  {kernel.spill_bytes} spilled  {kernel.shared_bytes} shared  {kernel.resident_warps}/64  {widths}"
        f"  {kernel.tensor_cores}  {kernel.compile_s:.2f} s"
    )
    for words in kernel.advice:
        print(f"           - {words}")


if __name__ == "__main__":
    main()
