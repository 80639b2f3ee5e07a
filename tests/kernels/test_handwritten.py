from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from joulegrid.cases.catalog import case_folder
from joulegrid.cases.manifest import read_problem
from joulegrid.kernels.judge.candidate import read_candidate
from joulegrid.kernels.judge.operators import allowed_for_triton
from joulegrid.kernels.judge.verify import Settings, verify
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.problem import Problem, Shape
from joulegrid.kernels.shipped import handwritten

PUBLISHED = Path(__file__).parents[2] / "benchmarks" / "results" / "aot-sm90.json"
# In the place of the tiny shape where one block would hold all of it: loops, carries and masks of more than one tile.
SEVERAL_TILES: dict[str, dict[str, int]] = {
    "alibi_attention": {"batch": 1, "heads": 2, "length": 140, "head_dim": 8},
    "causal_conv": {"batch": 1, "channels": 2, "length": 1100},
    "cross_entropy": {"rows": 3, "vocabulary": 8500},
    "gated_recurrence": {"batch": 1, "length": 5, "width": 20},
    "gelu_tanh": {"rows": 2, "width": 1030},
    "masked_reverse_cumsum": {"rows": 2, "width": 2100},
    "max_pool": {"batch": 1, "channels": 2, "height": 19, "width": 150},
    "nearest_code": {"rows": 20, "codes": 140, "width": 70},
    "softcap_window_attention": {"batch": 1, "heads": 1, "length": 140, "head_dim": 8, "window": 70},
    "softmax": {"rows": 2, "width": 33_000},
    "swiglu": {"rows": 2, "width": 1030},
    "window_mean": {"batch": 1, "channels": 2, "length": 1100},
}


def problem_of(case: str) -> Problem:
    problem = read_problem(case_folder(case))
    return replace(problem, tiny=Shape("tiny", SEVERAL_TILES.get(case, problem.tiny.dims)))


@pytest.mark.parametrize("case", handwritten())
def test_a_handwritten_kernel_passes_the_judge_in_the_interpreter(case: str, zygote: Zygote) -> None:
    dtypes = ("fp32", "bf16") if case == "nearest_code" else ("bf16",)  # it has other tiles in fp32
    settings, seeds = Settings(dtypes=dtypes, draws=2), range(1, 1 + len(dtypes))
    found = verify(problem_of(case), read_candidate(handwritten()[case]), settings, seeds=seeds, zygote=zygote)
    assert (found.verdict, found.evidence) == ("passed", ())
    assert (found.mode, found.proxy_dtype) == ("interpreter", {"bf16": "fp16"})
    assert all(allowed_for_triton(name, ()) for name in found.operators)  # all of the work is Triton's


def test_without_the_proxy_the_interpreter_would_reject_an_honest_kernel_in_bf16(zygote: Zygote) -> None:
    # Once this fails Triton rounds, and `interpret.PROXY_DTYPES` can go.
    settings = Settings(dtypes=("bf16",), proxy_dtypes={})
    found = verify(problem_of("rmsnorm"), read_candidate(handwritten()["rmsnorm"]), settings, seeds=[0], zygote=zygote)
    assert found.verdict == "wrong_values"


def test_the_published_facts_are_of_these_files() -> None:
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))["kernels"]
    hashes = {case: hashlib.sha256(path.read_bytes()).hexdigest() for case, path in handwritten().items()}
    assert {case: found["candidate_sha256"] for case, found in published.items()} == hashes  # run benchmarks.kernel_aot
    calls = [call for found in published.values() for call in found["calls"]]
    assert [call["error"] for call in calls] == [None] * len(calls)
    assert {kernel["spill_bytes"] for call in calls for kernel in call["kernels"]} == {0}


def test_at_least_eight_kinds_of_kernels_are_there() -> None:
    needed = {"softmax", "add_rmsnorm", "layernorm", "swiglu", "cross_entropy", "gated_recurrence", "max_pool"}
    assert needed | {"nearest_code"} <= handwritten().keys()


@pytest.mark.parametrize("case", handwritten())
def test_a_handwritten_kernel_raises_outside_its_domain_and_leaves_nothing_to_torch(case: str) -> None:
    tree = ast.parse(handwritten()[case].read_text(encoding="utf-8"))
    assert any(isinstance(node, ast.Raise) for node in ast.walk(tree))
    assert not any(isinstance(node, ast.Try) for node in ast.walk(tree))
    assert "libdevice" not in ast.unparse(tree).replace('"""', "")
