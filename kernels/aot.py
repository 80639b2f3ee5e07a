"""Compile a candidate's Triton kernels for an H200 on a machine without a GPU: errors, registers, spills, vectors.

The wheel of Triton brings its own ptxas, so neither GPU nor driver is needed. The candidate's Python runs in a process
of its own (`kernels/aot_child.py`), confined as the judge's children are; what that process reports is read here as
text. It is advice to an author and to a search, never a verdict.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from joulegrid.errors import PreFlightError, UsageError
from joulegrid.kernels.aot_facts import AheadOfTime, CallFacts, KernelFacts, advice_for, resident_warps
from joulegrid.kernels.draw import plain_values
from joulegrid.kernels.formula import whole
from joulegrid.kernels.judge import process_tree
from joulegrid.kernels.judge.sandbox import Orders
from joulegrid.kernels.judge.zygote import libraries, secrets
from joulegrid.kernels.problem import Node, Problem, Shape, TensorSpec
from joulegrid.kernels.ptx import read_ptx, read_ptxas
from joulegrid.kernels.trial import constructor_arguments

CAPABILITY = 90
MEMORY_BYTES = 8 << 30
SCRATCH_BYTES = 256 << 20
"""Of Triton's cache, and of the report."""
_CHILD = Path(__file__).with_name("aot_child.py")
_TORCH = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class Call:
    """One shape of a problem in one dtype."""

    shape: Shape
    dtype: str


def all_calls(problem: Problem) -> list[Call]:
    """Return every weighted shape in every dtype of a problem."""
    return [Call(shape, dtype) for shape in problem.shapes for dtype in problem.dtypes]


def compile_ahead(
    candidate: Path, problem: Problem, calls: Sequence[Call] | None = None, timeout_s: float = 300
) -> AheadOfTime:
    """Compile what a candidate would launch for these calls, by default `all_calls`, for compute capability 9.0.

    `PreFlightError` without Triton, `UsageError` where the file is missing; a candidate's own failures are in the
    result.
    """
    _require_triton()
    if not candidate.is_file():
        raise UsageError(f"candidate: {candidate} is no file; give the path of a candidate's Python file")
    calls = all_calls(problem) if calls is None else calls
    began = time.perf_counter()
    source = candidate.read_bytes()
    with tempfile.TemporaryFile() as stream:
        ending = _run_child(source.decode(errors="replace"), problem, calls, stream, timeout_s)
        report = _report(stream)
    found = [_call_facts(call, said) for call, said in zip(calls, report.get("calls", []), strict=False)]
    missing = f"{ending}; {len(found)} of {len(calls)} calls were compiled" if len(found) < len(calls) else None
    return AheadOfTime(
        target=f"sm_{CAPABILITY}",
        triton=report.get("triton"),
        candidate_sha256=hashlib.sha256(source).hexdigest(),
        calls=tuple(found),
        error=report.get("error") or missing,
        isolation=report.get("isolation", {}),
        seconds=round(time.perf_counter() - began, 2),
    )


def _require_triton() -> None:
    if importlib.util.find_spec("triton") is None:
        raise PreFlightError("compiling ahead of time needs Triton; install it with `pip install joulegrid[kernels]`")


def _call_request(problem: Problem, call: Call) -> dict[str, Any]:
    init = constructor_arguments(problem, call.shape.dims)
    inputs = problem.inputs
    return {
        "dtype": _TORCH[call.dtype],
        "init": {"args": list(init.args), "kwargs": dict(init.kwargs)},
        "args": [_tree(node, call) for node in inputs.args],
        "kwargs": {name: _tree(node, call) for name, node in inputs.kwargs.items()},
    }


def _tree(node: Node, call: Call) -> Any:
    """A node as JSON: tensors by shape and dtype, everything else by value."""
    match node:
        case TensorSpec():
            dtype = call.dtype if node.dtype == "case" else node.dtype
            return {"tensor": [[whole(size, call.shape.dims) for size in node.shape], _TORCH.get(dtype, dtype)]}
        case list():
            return {"list": [_tree(item, call) for item in node]}
        case dict():
            return {"dict": {name: _tree(item, call) for name, item in node.items()}}
    return {"value": plain_values(node, call.shape.dims)}


def _run_child(source: str, problem: Problem, calls: Sequence[Call], report: IO[bytes], timeout_s: float) -> str:
    """Run the child, confined as the judge's children are, until it ends or its time is up; say how it ended."""
    with tempfile.TemporaryDirectory(prefix="joulegrid-aot-") as scratch:
        request = {
            "orders": asdict(_orders(scratch, timeout_s)),
            "source": source,
            "capability": CAPABILITY,
            "calls": [_call_request(problem, call) for call in calls],
        }
        child = subprocess.Popen(
            [sys.executable, "-I", "-B", str(_CHILD), str(report.fileno())],
            env={"PATH": os.defpath, "OMP_NUM_THREADS": "1"}, cwd="/", pass_fds=[report.fileno()],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            child.communicate(json.dumps(request).encode(), timeout_s)
        except subprocess.TimeoutExpired:
            return f"it took more than {timeout_s:g} s"
        finally:
            process_tree.end(child.pid)
            child.wait()
    kind = "signal" if child.returncode < 0 else "exit code"
    return f"the process ended with {kind} {abs(child.returncode)}"


def _orders(scratch: str, timeout_s: float) -> Orders:
    """What the judge's children may do, and starting ptxas, too."""
    return Orders(
        scratch=scratch,
        libraries=libraries(),
        secrets=secrets(),
        memory_bytes=MEMORY_BYTES,
        scratch_bytes=SCRATCH_BYTES,
        processes=32,
        threads=1,
        cpu_seconds=math.ceil(timeout_s),
        device="cpu",
        interpret=False,
    )


def _report(stream: IO[bytes]) -> dict[str, Any]:
    """What the child wrote, if it is a report at all; a candidate may have left anything there."""
    stream.seek(0)
    try:
        said = json.loads(stream.read(SCRATCH_BYTES))
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _call_facts(call: Call, said: Any) -> CallFacts:
    try:
        launches = said["launches"]
        kernels = {launch["hash"]: _kernel_facts(launch) for launch in launches if launch["error"] is None}
        errors = [f"{launch['kernel']}: {launch['error']}" for launch in launches if launch["error"] is not None]
        error = "\n".join([*errors, *([said["error"]] if said["error"] else [])]) or None
        return CallFacts(shape=call.shape.name, dtype=call.dtype, kernels=tuple(kernels.values()), error=error)
    except (KeyError, TypeError, AttributeError, ValueError) as wrong:
        error = f"the report is not of the form that the compiling process writes: {type(wrong).__name__}"
        return CallFacts(shape=call.shape.name, dtype=call.dtype, kernels=(), error=error)


def _kernel_facts(launch: dict[str, Any]) -> KernelFacts:
    ptx, resources = read_ptx(launch["ptx"]), read_ptxas(launch["ptxas"])
    warps, shared = launch["num_warps"], launch["shared_bytes"]
    facts = KernelFacts(
        kernel=launch["kernel"],
        signature=launch["signature"],
        constants=launch["constants"],
        num_warps=warps,
        num_stages=launch["num_stages"],
        grid=tuple(launch["grid"]),
        registers=resources and resources.registers,
        spill_bytes=resources and resources.spill_store_bytes + resources.spill_load_bytes,
        stack_bytes=resources and resources.stack_bytes,
        shared_bytes=shared,
        resident_warps=resources and resident_warps(warps, resources.registers, shared),
        load_bits=ptx.load_bits,
        store_bits=ptx.store_bits,
        copy_bits=ptx.copy_bits,
        bulk_copies=ptx.bulk_copies,
        tensor_cores="wgmma" if ptx.wgmma else "mma" if ptx.mma else "none",
        atomics=ptx.atomics,
        compile_s=launch["seconds"],
    )
    return facts.model_copy(update={"advice": advice_for(facts, uses_dot=launch["uses_dot"])})
