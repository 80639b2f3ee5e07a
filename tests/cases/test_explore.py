"""Variants tried in this process: timed where they are right, told where they are not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from joulegrid.cases.explore import CasePoint, execute_variant, make_case_forward  # noqa: E402
from joulegrid.cases.lab_settings import LabSettings  # noqa: E402
from joulegrid.cases.variant import VariantMetrics  # noqa: E402
from joulegrid.errors import UsageError  # noqa: E402
from tests.cases.candidates import right  # noqa: E402


@pytest.fixture(autouse=True)
def settings(tmp_path: Path) -> LabSettings:
    """Short timings, artifacts and cache of the test's own."""
    torch.set_num_threads(1)
    os.environ |= {
        "JOULEGRID_ARTIFACTS": str(tmp_path / "artifacts"),
        "JOULEGRID_CACHE": str(tmp_path / "cache"),
        "JOULEGRID_TIMED_SECONDS": "0.05",
        "JOULEGRID_WARMUP_SECONDS": "0.01",
        "JOULEGRID_DEVICE": "cpu",
        "JOULEGRID_ENV_FILE": "",
    }
    return LabSettings(artifacts=tmp_path / "artifacts")


def written(settings: LabSettings, label: str) -> VariantMetrics:
    return VariantMetrics.model_validate_json((settings.artifacts / "rmsnorm" / label / "metrics.json").read_text())


def test_the_reference_is_right_and_its_metrics_are_written(settings: LabSettings) -> None:
    metrics = execute_variant("baseline", make_case_forward("rmsnorm"))
    assert written(settings, "baseline") == metrics
    assert metrics.trust == "in_process" and metrics.correctness.passed
    assert metrics.latency is not None and metrics.latency.calls >= 5
    assert metrics.latency.low_us <= metrics.latency.median_us <= metrics.latency.high_us
    assert metrics.throughput is not None
    assert metrics.throughput.calls_per_s == pytest.approx(1e6 / metrics.latency.median_us)
    assert metrics.memory is not None and metrics.memory.kind == "rss_max"


def test_a_candidates_file_gets_the_same_tensors_as_the_reference(tmp_path: Path) -> None:
    file = right(tmp_path).rename(tmp_path / "my kernel.py")
    candidate, reference = make_case_forward("rmsnorm", file), make_case_forward("rmsnorm")
    for one, other in zip(candidate.tensors.inputs.args, reference.tensors.inputs.args, strict=True):
        assert bool(one.equal(other))
    assert execute_variant("fused", candidate).correctness.verdict == "passed"


def test_a_wrong_function_has_no_numbers_of_speed_and_says_what_is_wrong(settings: LabSettings) -> None:
    metrics = execute_variant("zeros", make_case_forward("rmsnorm", lambda x: torch.zeros_like(x)))
    assert metrics.correctness.verdict == "wrong_values" and metrics.correctness.wrong
    assert metrics.latency is None and metrics.throughput is None
    assert json.loads((settings.artifacts / "rmsnorm" / "zeros" / "metrics.json").read_text())["latency"] is None


def test_a_function_that_raises_or_writes_into_its_inputs_is_a_result() -> None:
    def raising(x: Any) -> Any:
        raise RuntimeError("no such tile")

    raised = execute_variant("raising", make_case_forward("rmsnorm", raising))
    assert raised.correctness.verdict == "runtime_error" and "no such tile" in str(raised.correctness.error)
    wrote = execute_variant("writing", make_case_forward("rmsnorm", lambda x: x.zero_()))
    assert wrote.correctness.verdict == "changed_inputs"


def test_shape_and_dtype_are_those_of_the_point_and_wrong_ones_are_named() -> None:
    forward = make_case_forward("rmsnorm", point=CasePoint("scaled:small", "bf16", seed=5))
    assert forward.draw.dtype == "bf16" and forward.draw.seed == 5
    assert dict(forward.draw.dims) == {"rows": 512, "width": 1024}
    with pytest.raises(UsageError, match="scaled:small"):
        make_case_forward("rmsnorm", point=CasePoint("huge"))
    with pytest.raises(UsageError, match="fp32, bf16"):
        make_case_forward("rmsnorm", point=CasePoint(dtype="fp16"))


@pytest.mark.parametrize("label", ["", "../up", "a/b", "a b"])
def test_a_label_that_is_no_name_is_refused(label: str) -> None:
    with pytest.raises(UsageError, match="label"):
        execute_variant(label, make_case_forward("rmsnorm"))


def test_what_cannot_be_run_is_refused_in_words(tmp_path: Path) -> None:
    plain: Any = lambda x: x  # noqa: E731
    with pytest.raises(UsageError, match="make_case_forward"):
        execute_variant("plain", plain)
    with pytest.raises(UsageError, match="neither a file"):
        make_case_forward("rmsnorm", 3)
    empty = tmp_path / "empty.py"
    empty.write_text("import torch\n")
    with pytest.raises(UsageError, match="OptimizedModel"):
        make_case_forward("rmsnorm", empty)
    with pytest.raises(UsageError, match="is missing"):
        make_case_forward("rmsnorm", tmp_path / "nowhere.py")


def test_the_profiler_leaves_a_trace_and_an_operator_table(settings: LabSettings) -> None:
    metrics = execute_variant("baseline", make_case_forward("rmsnorm"), use_profiler=True)
    assert metrics.profiler == ["operators.json", "trace.json"]
    folder = settings.artifacts / "rmsnorm" / "baseline" / "profiler"
    assert json.loads((folder / "trace.json").read_text())["traceEvents"]
    told = json.loads((folder / "operators.json").read_text())
    assert any(row["name"] == "aten::rsqrt" for row in told["operators"])
    assert told["roof"]["bound"] in ("memory", "compute") and told["roof"]["share"] > 0
