"""The workload `kernel`: what is refused before it runs, and what a right and a wrong candidate come to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from pydantic import ValidationError

from joulegrid.cases.contract import LaneCannotError, Measurement, Places
from joulegrid.cases.explore import CasePoint
from joulegrid.cases.judged import JudgedPoint
from joulegrid.cases.profiling import profile_apart
from joulegrid.cases.tools import profiler_tool, verification_tool
from joulegrid.cases.workloads.kernel import Kernel
from joulegrid.cases.workloads.kernel_config import KernelConfig
from joulegrid.errors import UsageError
from joulegrid.kernels.judge.zygote import Zygote
from tests.cases.candidates import right, wrong
from tests.cases.local_probe import LocalProbe
from tests.cases.made_cases import make_case


def config(**params: Any) -> KernelConfig:
    return KernelConfig.model_validate({"kernel": {"case": "rmsnorm", "steps": ["verify"], **params}})


def run(zygote: Zygote, folder: Path, **params: Any) -> Measurement:
    chosen = config(**params)
    inputs = Kernel().inputs(chosen, Places(folder))
    return Kernel(zygote).run(
        chosen, {path: one.location for path, one in inputs.items()}, LocalProbe(folder / "scratch")
    )


def test_a_right_candidate_passes_and_leaves_what_an_archive_needs(zygote: Zygote, tmp_path: Path) -> None:
    right(tmp_path)
    os.environ["JOULEGRID_CACHE"] = str(tmp_path / "cache")
    found = run(zygote, tmp_path, candidate="right.py", dtype="bf16", steps=["profile", "verify"])
    assert found.metrics["verdict"] == "passed" and "speedup" not in found.metrics
    assert found.metrics["draws"] == 16 and found.headline is None
    kept = tmp_path / "scratch" / "artifacts" / "kernel"
    point = JudgedPoint.model_validate_json((kept / "point.json").read_text())
    assert (point.dtype, point.verdict, len(point.seeds)) == ("bf16", "passed", 1)
    assert (kept / "candidate.py").read_bytes() == (tmp_path / "right.py").read_bytes()
    assert {path.name for path in (kept / "case").iterdir()} == {"manifest.yaml", "model.py"}
    assert json.loads((kept / "metrics.json").read_text())["trust"] == "isolated"
    assert "no_profile" not in found.metrics and "traceEvents" in json.loads(
        (kept / "profiler" / "trace.json").read_text()
    )
    assert json.loads((kept / "profiler" / "operators.json").read_text())["trust"] == "in_process"


def test_a_wrong_candidate_is_a_result_with_evidence_and_without_speed(zygote: Zygote, tmp_path: Path) -> None:
    wrong(tmp_path)
    found = run(zygote, tmp_path, candidate="wrong.py", steps=["verify", "time"])
    assert found.metrics["verdict"] == "wrong_values"
    assert str(found.metrics["evidence"]).startswith("values: ")
    assert not {"speedup", "latency_us", "roof_score"} & found.metrics.keys()


def test_the_key_follows_the_contents_of_case_and_candidate(tmp_path: Path) -> None:
    right(tmp_path)
    make_case(tmp_path / "cases")
    chosen = config(case="cases/made", candidate="right.py")
    before = Kernel().inputs(chosen, Places(tmp_path))
    assert Kernel().inputs(chosen, Places(tmp_path)) == before
    (tmp_path / "cases" / "made" / "model.py").write_text("# another one\n")
    wrong(tmp_path).rename(tmp_path / "right.py")
    after = Kernel().inputs(chosen, Places(tmp_path))
    assert all(after[path].fingerprint != before[path].fingerprint for path in before)
    with pytest.raises(LaneCannotError, match="changed since"):
        located = {path: one.location for path, one in before.items()}
        Kernel().run(chosen, located, LocalProbe(tmp_path / "scratch"))


def test_points_that_a_case_does_not_have_are_refused_by_rule() -> None:
    rule = Kernel().rules[0]
    assert rule.check("rmsnorm", "scaled:small", "bf16") is None
    assert "fp32, bf16" in str(rule.check("rmsnorm", "tiny", "fp16"))
    assert "scaled:small" in str(rule.check("rmsnorm", "huge", None))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"case": "rmsnrm", "candidate": "right.py"}, "did you mean rmsnorm"),
        ({"candidate": "nowhere.py"}, "kernel.candidate: .* is missing"),
        ({"case": "bias_gelu", "candidate": "handwritten"}, "no hand-written one"),
    ],
)
def test_what_is_missing_is_named(params: dict[str, str], words: str, tmp_path: Path) -> None:
    right(tmp_path)
    with pytest.raises(UsageError, match=words):
        Kernel().inputs(config(**params), Places(tmp_path))


def test_a_candidate_that_cannot_be_profiled_says_why(tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text("raise ValueError('not here')\n")
    os.environ["JOULEGRID_CACHE"] = str(tmp_path / "cache")
    told = profile_apart("rmsnorm", tmp_path / "raises.py", CasePoint("tiny", "fp32"), "cpu")
    assert isinstance(told, str) and "not here" in told and "Traceback" not in told


@pytest.mark.parametrize("steps", [["time"], ["profile"], [], ["verify", "verify"], ["verify", "guess"]])
def test_nothing_is_timed_that_was_not_verified(steps: list[str]) -> None:
    with pytest.raises(ValidationError):
        config(candidate="right.py", steps=steps)


def test_the_tools_of_an_agent_tell_what_is_wrong_and_no_seed(zygote: Zygote, tmp_path: Path) -> None:
    os.environ |= {"JOULEGRID_ARTIFACTS": str(tmp_path / "artifacts"), "JOULEGRID_CACHE": str(tmp_path / "cache")}
    found = verification_tool("rmsnorm", str(wrong(tmp_path)), zygote=zygote)
    assert found.verdict == "wrong_values" and found.evidence and found.seeds == ()
    assert all(draw.seed == 0 and draw.dims == {} for draw in found.draws)
    profiled = profiler_tool("rmsnorm", str(right(tmp_path)))
    assert profiled.trust == "in_process" and Path(profiled.trace).is_file()
