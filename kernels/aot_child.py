"""Compile a candidate's Triton kernels for a GPU that is not there: a script, `python -I`, in a process of its own.

The candidate's `forward` is called on meta tensors: shapes and dtypes without numbers. Each launch goes through
Triton's own specialisation (dtypes, divisibility by 16, constants) and compiler, for the target that the request
names, and is not executed. Of Joulegrid only the judge's sandbox is imported, and what is reported is the word of a
process in which the candidate's code ran.

The request is JSON on stdin; the argument is a descriptor for the report.
"""

import contextlib
import importlib
import importlib.util
import io
import json
import os
import signal
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

LONGEST_TEXT = 4_000_000
JUDGE = Path(__file__).with_name("judge")


class AbsentGpu:
    """A driver for Triton: it names the target and launches nothing."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def get_current_target(self) -> Any:
        """Return the GPU that is compiled for."""
        return self.target

    def get_current_device(self) -> int:
        """Return the only device."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """Return the only stream."""
        return 0

    def get_active_torch_device(self) -> Any:
        """Return where the tensors are."""
        import torch

        return torch.device("meta")

    def get_benchmarker(self) -> Any:
        """Autotuning compiles every configuration, finds all equally fast, and keeps the first."""
        return lambda call, quantiles=(0.5,), **_: (call(), [0.0] * len(quantiles or (0.5,)))[1]


class Recorder:
    """Takes the place of `JITFunction.run`: compiles what would be launched, once each, and notes it."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self.launches: list[dict[str, Any]] = []
        self.compiled: dict[str, dict[str, Any]] = {}

    def method(self) -> Any:
        """Return a function that is bound to a kernel as a method is."""

        def run(function: Any, *args: Any, **kwargs: Any) -> Any:
            return self.launch(function, *args, **kwargs)

        return run

    def launch(self, function: Any, *args: Any, grid: Any, warmup: bool = False, **kwargs: Any) -> Any:
        """Compile what is launched, and note it."""
        began = time.perf_counter()
        log = io.StringIO()
        note: dict[str, Any] = {"kernel": function.__name__, "grid": None, "error": None}
        self.launches.append(note)
        kernel = None
        try:
            with contextlib.redirect_stdout(log):
                kernel = self.run(function, *args, grid=grid, warmup=True, **kwargs)
            note["grid"] = _grid(function, grid, args, kwargs)
        except Exception as error:  # noqa: BLE001 - whatever a compiler raises on somebody's kernel is the finding
            note["error"] = _said(error)
        if kernel is not None:
            # Only the first time is there a log and anything to wait for.
            seconds = round(time.perf_counter() - began, 3)
            first = self.compiled.setdefault(kernel.hash, {"seconds": seconds, "ptxas": log.getvalue()[-20_000:]})
            note |= _compiled(kernel) | first
        return kernel


def _grid(function: Any, grid: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    if callable(grid):
        names = [parameter.name for parameter in function.params]
        defaults = {parameter.name: parameter.default for parameter in function.params if parameter.has_default}
        grid = grid({**defaults, **dict(zip(names, args, strict=False)), **kwargs})
    return [int(size) for size in grid] + [1] * (3 - len(grid))


def _compiled(kernel: Any) -> dict[str, Any]:
    """Texts are read outside, where the candidate's code does not run."""
    names = list(kernel.src.signature)
    constants = {names[path[0]]: str(value)[:100] for path, value in kernel.src.constants.items() if len(path) == 1}
    attributes = kernel.src.attrs
    return {
        "hash": kernel.hash,
        "signature": {name: str(kind) for name, kind in kernel.src.signature.items() if str(kind) != "constexpr"},
        "constants": constants,
        "divisible_by_16": [names[path[0]] for path, found in attributes.items() if ["tt.divisibility", 16] in found],
        "num_warps": kernel.metadata.num_warps,
        "num_stages": kernel.metadata.num_stages,
        "shared_bytes": kernel.metadata.shared,
        "uses_dot": "tt.dot" in kernel.asm["ttir"],
        "ptx": kernel.asm["ptx"][:LONGEST_TEXT],
    }


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:4000]


def _tree(node: Any) -> Any:
    """Rebuild arguments: `{"tensor": [shape, dtype]}`, `{"value": …}`, `{"list": […]}`, `{"dict": {…}}`."""
    import torch

    ((kind, content),) = node.items()
    match kind:
        case "tensor":
            shape, name = content
            return torch.empty(shape, dtype=getattr(torch, name), device="meta")
        case "list":
            return [_tree(item) for item in content]
        case "dict":
            return {name: _tree(item) for name, item in content.items()}
    return content


def _call(cls: Any, call: dict[str, Any]) -> None:
    import torch

    dtype = getattr(torch, call["dtype"])
    with torch.device("meta"):
        module = cls(*call["init"]["args"], **call["init"]["kwargs"]).eval().requires_grad_(False).to(dtype=dtype)
    args = [_tree(node) for node in call["args"]]
    kwargs = {name: _tree(node) for name, node in call["kwargs"].items()}
    with torch.no_grad():
        module(*args, **kwargs)


def _load(path: Path) -> Any:
    specification = importlib.util.spec_from_file_location("candidate", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["candidate"] = module
    specification.loader.exec_module(module)
    return module.OptimizedModel


class Report:
    """What is found, written anew after every call, so that it outlasts a crash."""

    def __init__(self, descriptor: int, **known: Any) -> None:
        self.descriptor = descriptor
        self.content: dict[str, Any] = {"error": None, "calls": [], **known}

    def write(self) -> None:
        """Replace what the descriptor's file holds."""
        os.ftruncate(self.descriptor, 0)
        left = memoryview(json.dumps(self.content).encode())
        at = 0
        while at < len(left):
            at += os.pwrite(self.descriptor, left[at:], at)


def compile_all(request: dict[str, Any], report: Report) -> None:
    """Load the candidate and carry out the calls."""
    from triton.runtime.jit import JITFunction

    recorder = Recorder(JITFunction.run)
    JITFunction.run = recorder.method()
    try:
        # Triton reads its kernels' source from a file.
        path = Path("candidate.py")
        path.write_text(request["source"], encoding="utf-8")
        cls = _load(path.resolve())
        for call in request["calls"]:
            recorder.launches, error = [], None
            try:
                _call(cls, call)
            except Exception as raised:  # noqa: BLE001 - a candidate may raise anything
                error = _said(raised)
            report.content["calls"].append({"error": error, "launches": recorder.launches})
            report.write()
    except Exception as raised:  # noqa: BLE001
        report.content["error"] = _said(raised)
    report.write()


def _sandbox() -> Any:
    """Import the judge's sandbox as the package that it is, without the rest of Joulegrid."""
    for name in ("joulegrid", "joulegrid.kernels", "joulegrid.kernels.judge"):
        module = types.ModuleType(name)
        module.__path__ = [str(JUDGE)] if name.endswith("judge") else []
        sys.modules[name] = module
    return importlib.import_module("joulegrid.kernels.judge.sandbox")


def _detached(sandbox: Any, orders: Any) -> dict[str, Any]:
    """Return in a child in namespaces of its own; this process waits for it and ends as it ends."""
    facts: dict[str, Any] = sandbox.detach(orders)
    child = os.fork()
    if child == 0:
        return facts
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def main(descriptor: int) -> None:
    """Read the request, import what is needed, give up all rights, and compile."""
    request = json.loads(sys.stdin.read())
    sandbox = _sandbox()
    orders = sandbox.Orders.read(request["orders"])
    facts = _detached(sandbox, orders)
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    facts |= sandbox.confine(orders, descriptor)
    tempfile.tempdir = None
    driver.set_active(AbsentGpu(GPUTarget("cuda", request["capability"], 32)))
    triton.knobs.nvidia.dump_ptxas_log = True
    compile_all(request, Report(descriptor, triton=triton.__version__, isolation=facts))


if __name__ == "__main__":
    main(int(sys.argv[1]))
