"""The plan and the figures of the GPU benchmark, and what it says where there is no GPU: nothing is timed here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from benchmarks.gpu_lab import figures  # noqa: E402
from benchmarks.gpu_lab.plan import Step, affordable, remaining, steps  # noqa: E402
from benchmarks.gpu_lab.step import settings_of  # noqa: E402
from joulegrid.cases.catalog import case_folder  # noqa: E402
from joulegrid.cases.manifest import read_problem  # noqa: E402
from joulegrid.kernels.problem import Problem  # noqa: E402

ROOT = Path(__file__).parents[1]
ATTACKS = [("/x/side_stream.py", "softmax", "fp32")]


@pytest.fixture(scope="module")
def problems() -> dict[str, Problem]:
    return {name: read_problem(case_folder(name)) for name in ("gelu_tanh", "rmsnorm", "softmax")}


def done(case: str, call_us: float, ratio: float, share: float, *, launch_bound: bool = False) -> dict[str, Any]:
    """A point as its step answers it."""
    interval = {"low": ratio * 0.98, "estimate": ratio, "high": ratio * 1.02, "confidence": 0.95}
    member = {"call_s": {**interval, "estimate": call_us / 1e6}, "device_s": call_us / 1.2e6, "first_call_s": [1.0]}
    return {
        "step": {"kind": "point", "case": case, "shape": "wide", "dtype": "bf16", "file": ""},
        "verdict": "passed", "claim": ratio * 0.98, "strongest": "compile", "launch_bound": launch_bound,
        "ratios": {"eager": {**interval, "estimate": 2 * ratio}, "compile": interval},
        "same": {"low": 0.99, "estimate": 1.0, "high": 1.02, "confidence": 0.95},
        "members": {"candidate": member}, "roof_share": share, "energy": {"energy_j": 0.01},
    }  # fmt: skip


def test_what_matters_most_is_done_first(problems: dict[str, Problem]) -> None:
    planned = steps(problems, ATTACKS, "cuda")
    assert [step.kind for step in planned[:3]] == ["smoke", "same", "attack"]
    points = [step for step in planned if step.kind == "point"]
    assert [(step.case, step.shape) for step in points[:2]] == [("rmsnorm", "wide"), ("softmax", points[1].shape)]
    assert {step.dtype for step in points[: len(problems)]} <= {"bf16", "fp16"}
    assert len({step.key for step in planned}) == len(planned)
    everything = {
        (name, shape.name, dtype) for name, one in problems.items() for shape in one.shapes for dtype in one.dtypes
    }
    assert {(step.case, step.shape, step.dtype) for step in points} == everything


def test_a_later_run_goes_on_and_looks_again_whether_it_works_at_all(problems: dict[str, Problem]) -> None:
    planned = steps(problems, ATTACKS, "cuda")
    left = remaining(planned, {step.key for step in planned[:5]})
    assert left[0].kind == "smoke" and left[1:] == planned[5:]


def test_no_step_is_begun_that_would_not_end_in_time() -> None:
    assert affordable([], 60.0) and not affordable([], 5.0)
    assert not affordable([90.0, 100.0, 110.0], 99.0)


def test_on_a_gpu_a_point_is_timed_against_every_baseline(problems: dict[str, Problem]) -> None:
    order = {"device": "cuda", "pairs": 4, "energy_s": 3.0}
    settings = settings_of(problems["rmsnorm"], Step("point", "rmsnorm", "wide", "bf16"), order)
    assert settings.dims == {"rows": 32768, "width": 4096} and len(settings.baselines) == 5
    assert "memory_bytes" not in settings.model_fields_set


def test_the_table_has_call_and_device_time_side_by_side_and_keeps_failures() -> None:
    failed = {
        "step": {"kind": "point", "case": "softmax", "shape": "wide", "dtype": "fp32", "file": ""},
        "error": "no\nx",
    }
    refused = {**failed, "error": None, "verdict": "tampering", "evidence": [{"found": "120 µs apart"}]}
    lines = list(figures.table({"a": done("rmsnorm", 120.0, 1.5, 0.9), "b": failed, "c": refused}))
    assert "120.00" in lines[1] and "100.00" in lines[1] and "1.500" in lines[1] and "3.000" in lines[1]
    assert lines[2].endswith("error          no") and "120 µs apart" in lines[3]


def test_geometric_means_count_each_case_once_against_eager_and_the_strongest() -> None:
    found = figures.means(
        {"a": done("rmsnorm", 120.0, 1.0, 0.9), "b": done("softmax", 50.0, 4.0, 0.9)},
        {("rmsnorm", "wide"): 0.5, ("softmax", "wide"): 0.5},
    )
    assert found["strongest"]["geometric_mean"]["value"] == pytest.approx(2.0)
    assert found["eager"]["geometric_mean"]["value"] == pytest.approx(4.0)


def test_kernels_whose_code_promised_another_time_are_listed_and_launches_are_not() -> None:
    call = {"shape": "wide", "dtype": "bf16", "kernels": [{"advice": []}]}
    spilled = {**call, "kernels": [{"advice": ["64 bytes of registers are spilled"]}]}
    ahead = {"kernels": {"rmsnorm": {"calls": [call]}, "softmax": {"calls": [spilled]}, "swiglu": {"calls": [call]}}}
    points = {
        "a": done("rmsnorm", 300.0, 1.0, 0.3), "b": done("softmax", 50.0, 1.0, 0.9),
        "c": done("swiglu", 5.0, 1.0, 0.1, launch_bound=True), "d": done("unknown", 50.0, 1.0, 0.1),
    }  # fmt: skip
    found = figures.unexplained(points, ahead)
    assert len(found) == 2 and "30% of the roof" in found[0] and "spilled" in found[1]


def test_attacks_are_told_with_and_without_the_gate() -> None:
    one = {
        "step": {"kind": "attack", "file": "/x/side_stream.py"},
        "with_gate": "forbidden",
        "without_gate": "wrong_values",
    }
    assert list(figures.attack_lines({"a": one})) == [
        f"{'side_stream.py':28} forbidden with the gate, wrong_values without"
    ]


def test_without_a_gpu_it_says_so_and_leaves_with_2() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    command = [sys.executable, "-m", "benchmarks.kernels_gpu"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "torch cannot use a GPU here" in found.stderr and "Traceback" not in found.stderr
