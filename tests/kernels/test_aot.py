from __future__ import annotations

from pathlib import Path

import pytest

from joulegrid.cases.catalog import case_folder
from joulegrid.cases.manifest import read_problem
from joulegrid.errors import UsageError
from joulegrid.kernels.aot import Call, compile_ahead
from joulegrid.kernels.aot_facts import AheadOfTime
from joulegrid.kernels.problem import Problem, Shape
from joulegrid.kernels.shipped import handwritten


def softmax() -> Problem:
    return read_problem(case_folder("softmax"))


TWO_KERNELS = """
import torch, triton
import triton.language as tl
from torch import nn

@triton.jit
def narrow(x_ptr, y_ptr, width, BLOCK: tl.constexpr):
    column = tl.program_id(0) * width + tl.arange(0, BLOCK)
    tl.store(y_ptr + column, tl.load(x_ptr + 2 * column))

@triton.jit
def wrong(x_ptr):
    tl.store(x_ptr, tl.load(x_ptr) + absent)

class OptimizedModel(nn.Module):
    def forward(self, x):
        y = torch.empty_like(x)
        for _ in range(2):
            narrow[lambda meta: (triton.cdiv(x.shape[0], meta["BLOCK"]),)](x, y, x.shape[1], BLOCK=256, num_warps=2)
        wrong[(1,)](y)
        raise ValueError("only some shapes")
"""
FORGE = "import os, sys; fd = int(sys.argv[1]); os.ftruncate(fd, 0); os.pwrite(fd, {}, 0); os._exit(3)"
SHAPE = Shape("long", {"rows": 4096, "width": 32768})


def compiled(folder: Path, source: str, timeout_s: float = 60) -> AheadOfTime:
    path = folder / "candidate.py"
    path.write_text(source, encoding="utf-8")
    return compile_ahead(path, softmax(), [Call(SHAPE, "fp32")], timeout_s)


def test_a_handwritten_kernel_compiles_for_an_h200_without_one() -> None:
    found = compile_ahead(handwritten()["softmax"], softmax(), [Call(SHAPE, dtype) for dtype in ("fp32", "bf16")])
    assert (found.error, found.target, [call.error for call in found.calls]) == (None, "sm_90", [None, None])
    for call, pointer in zip(found.calls, ("*fp32", "*bf16"), strict=True):
        (kernel,) = call.kernels
        assert (kernel.signature["x_ptr"], kernel.spill_bytes, kernel.grid) == (pointer, 0, (4096, 1, 1))
        assert (max(kernel.load_bits), kernel.advice) == (128, ())


def test_what_compiles_has_facts_and_advice_and_what_does_not_the_compilers_words(tmp_path: Path) -> None:
    (call,) = compiled(tmp_path, TWO_KERNELS).calls
    (narrow,) = call.kernels  # launched twice, compiled once
    assert (set(narrow.load_bits), narrow.grid, narrow.constants["BLOCK"]) == ({32}, (16, 1, 1), "256")
    assert [words for words in narrow.advice if "no load is wider than 32 bits" in words]
    assert [words for words in narrow.advice if "grid of 16: some of 132" in words]
    assert "absent is not defined" in (call.error or "")
    assert "only some shapes" in (call.error or "")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os; os._exit(0)", "exit code 0; 0 of 1 calls"),
        ("import time; time.sleep(60)", "more than 4 s; 0 of 1 calls"),
        (FORGE.format(b"[" * 100_000), "exit code 3; 0 of 1 calls"),
        ("import ctypes; ctypes.string_at(0)", "signal 11; 0 of 1 calls"),
        (f"open({str(softmax().file)!r})", "Error: [Errno"),  # refused by Landlock, or covered by an empty folder
    ],
)
def test_what_ends_otherwise_or_reaches_too_far_is_told_of(tmp_path: Path, source: str, said: str) -> None:
    found = compiled(tmp_path, source, timeout_s=4 if "sleep" in source else 60)
    assert found.calls == ()
    assert said in (found.error or "")


def test_a_forged_report_is_no_more_than_malformed(tmp_path: Path) -> None:
    (call,) = compiled(tmp_path, FORGE.format(b'{"calls": [{"launches": 3, "error": null}]}')).calls
    assert "not of the form" in (call.error or "")


def test_a_candidate_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no file"):
        compile_ahead(tmp_path / "absent.py", softmax())
