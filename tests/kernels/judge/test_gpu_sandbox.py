"""What Triton does on a GPU before anything runs there, inside the sandbox of a GPU's child: gcc, ptxas, threads."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulegrid.kernels.judge.limits import Limits
from joulegrid.kernels.judge.sandbox import Orders, confine, detach
from joulegrid.kernels.judge.zygote import libraries, secrets

pytest.importorskip("torch")
pytest.importorskip("triton")
LAUNCHER = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "launcher", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_launcher(void) { return PyModule_Create(&module); }
"""
KERNEL = """
import triton
import triton.language as tl


@triton.jit
def double(x, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + at, tl.load(x + at, at < n) * 2, at < n)
"""


@pytest.fixture
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="joulegrid-test-"))
    yield folder
    shutil.rmtree(folder)


def orders(scratch: Path) -> Orders:
    """Return the orders of a candidate's child on a GPU."""
    limits = Limits().on("cuda")
    return Orders(
        scratch=str(scratch), libraries=libraries(), secrets=secrets(), memory_bytes=limits.memory_bytes,
        scratch_bytes=limits.scratch_bytes, processes=limits.processes, threads=limits.threads,
        cpu_seconds=limits.cpu_seconds, device="cuda", interpret=False,
        driver={"CUDA_VISIBLE_DEVICES": "0", "TRITON_LIBCUDA_PATH": "/usr/lib"},
    )  # fmt: skip


def inside(scratch: Path) -> dict[str, object]:
    """Do what a first launch does; return what was had."""
    import threading

    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.runtime.build import compile_module_from_src

    module = compile_module_from_src(src=LAUNCHER, name="launcher")
    (scratch / "kernel.py").write_text(KERNEL)
    code = compile(KERNEL, str(scratch / "kernel.py"), "exec")
    names: dict[str, object] = {"__name__": "kernel"}
    exec(code, names)
    source = ASTSource(
        names["double"], signature={"x": "*fp32", "n": "i32", "BLOCK": "constexpr"}, constexprs={"BLOCK": 64}
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    return {
        "launcher": module.__name__,
        "cubin": len(compiled.asm["cubin"]),
        "cached": str(module.__file__).startswith(str(scratch)),
        "libcuda": triton.knobs.nvidia.libcuda_path,
        "visible": os.environ["CUDA_VISIBLE_DEVICES"],
    }


@pytest.mark.skipif(shutil.which("gcc") is None and shutil.which("clang") is None, reason="needs a C compiler")
def test_a_child_on_a_gpu_may_compile_load_and_start_threads(scratch: Path) -> None:
    ours, theirs = socket.socketpair()
    given = orders(scratch)
    child = os.fork()
    if child == 0:
        told: object = "nothing"
        try:
            ours.close()
            os.setsid()
            facts = detach(given) | confine(given, theirs.fileno())
            told = {"facts": facts, **inside(scratch)}
        except Exception as error:  # noqa: BLE001 - told to the test
            told = {"error": f"{type(error).__name__}: {error}"}
        finally:
            theirs.sendall(json.dumps(told).encode())
            os._exit(0)
    theirs.close()
    said = b""
    while part := ours.recv(1 << 16):
        said += part
    os.waitpid(child, 0)
    ours.close()
    found = json.loads(said)
    assert "error" not in found, found
    assert found["cubin"] > 1000
    assert found["cached"] and found["launcher"] == "launcher"
    assert (found["libcuda"], found["visible"]) == ("/usr/lib", "0")
    assert found["facts"]["environment_empty"]
