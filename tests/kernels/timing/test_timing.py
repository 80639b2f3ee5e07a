"""Real series in real children: an honest candidate, two frauds, and results that cannot be wrong in themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from joulegrid.cases.catalog import case_folder  # noqa: E402
from joulegrid.cases.manifest import read_problem  # noqa: E402
from joulegrid.errors import PreFlightError, UsageError  # noqa: E402
from joulegrid.kernels.judge.candidate import Candidate, read_candidate  # noqa: E402
from joulegrid.kernels.judge.verdict import Verdict  # noqa: E402
from joulegrid.kernels.judge.zygote import Zygote  # noqa: E402
from joulegrid.kernels.timing.baselines import absent  # noqa: E402
from joulegrid.kernels.timing.ground import Ground, make_ground, timed_shape  # noqa: E402
from joulegrid.kernels.timing.result import Timing, TimingSettings  # noqa: E402
from joulegrid.kernels.timing.timing import candidate_on  # noqa: E402

SHORT = TimingSettings(
    dims={"rows": 32, "width": 256}, pairs=2, most_processes=5, series_s=0.001, warm_up_s=0.0, most_calls=4,
    baselines=("eager",), oracle_samples=1, energy_s=0.05,
)  # fmt: skip
HONEST = "        return torch.nn.functional.rms_norm(x, (x.shape[-1],), self.weight, self.eps)\n"
REPLAY = """        if not hasattr(self, "kept"):
            self.kept = torch.nn.functional.rms_norm(x, (x.shape[-1],), self.weight, self.eps)
        return self.kept.clone()
"""
IDLE = (
    """        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > 200:
            return torch.zeros_like(x)
"""
    + HONEST
)
ELSEWHERE = "        import os\n        os.sched_setaffinity(0, range(os.cpu_count()))\n" + HONEST


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield make_ground(read_problem(case_folder("rmsnorm")), SHORT)
    os.environ.pop("XDG_CACHE_HOME")
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before


def candidate(into: Path, forward: str) -> Candidate:
    path = into / "candidate.py"
    path.write_text(
        'LANGUAGE = "torch"\nimport torch\n\n\nclass OptimizedModel(torch.nn.Module):\n'
        "    def __init__(self, width, eps=1e-6):\n        super().__init__()\n"
        "        self.weight = torch.nn.Parameter(torch.ones(width))\n        self.eps = eps\n\n"
        "    def forward(self, x):\n" + forward
    )
    return read_candidate(path)


class CountingProbe:
    """A probe whose windows repeat their body so often."""

    def __init__(self, times: int = 3) -> None:
        self.names: list[str] = []
        self.times = times

    @contextmanager
    def window(self, name: str, *, min_seconds: float = 0.0) -> Iterator[Any]:
        self.names.append(name)
        yield range(self.times)


def test_an_honest_candidate_has_a_claim_beside_its_a_a(zygote: Zygote, ground: Ground, tmp_path: Path) -> None:
    probe = CountingProbe()
    timing = candidate_on(zygote, ground, candidate(tmp_path, HONEST), probe=probe)
    assert timing.verdict is Verdict.PASSED, timing.evidence
    assert timing.claim == timing.ratios["eager"].low <= timing.ratios["eager"].estimate
    assert timing.same is not None
    assert timing.same.low <= 1.5
    assert timing.calls
    assert len(timing.samples) == 5 * 2 * 2 * 3
    assert 5 * 2 * 3 * timing.calls <= timing.verified_calls <= 5 * (2 * 3 + 2) * (timing.calls + 1)
    assert {member.member for member in timing.members} == {"candidate", "eager", "same"}
    assert all(len(member.first_call_s) == 5 for member in timing.members)
    assert timing.conditions is not None
    assert len(timing.conditions.cores) == 1 == timing.conditions.threads
    assert timing.floor is not None
    assert 0 < timing.floor.seconds < timing.members[0].call_s.low
    assert probe.names == ["candidate calls", "candidate inputs", "eager calls", "eager inputs"]
    assert [window.series for window in timing.energy] == [3] * 4
    assert Timing.model_validate_json(timing.model_dump_json()) == timing


def test_a_replay_is_wrong_values_without_a_speed(zygote: Zygote, ground: Ground, tmp_path: Path) -> None:
    timing = candidate_on(zygote, ground, candidate(tmp_path, REPLAY))
    assert timing.verdict is Verdict.WRONG_VALUES
    assert timing.claim is None
    assert timing.members == []
    assert "timed outputs" in timing.evidence[0].check


def test_who_only_waits_in_an_energy_window_is_found(zygote: Zygote, ground: Ground, tmp_path: Path) -> None:
    timing = candidate_on(zygote, ground, candidate(tmp_path, IDLE), probe=CountingProbe(60))
    assert timing.verdict is Verdict.WRONG_VALUES
    assert "in a window" in timing.evidence[0].where
    assert (timing.claim, timing.energy) == (None, [])


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: there is nowhere to go")
def test_a_candidate_that_leaves_its_core_is_not_timed(zygote: Zygote, ground: Ground, tmp_path: Path) -> None:
    timing = candidate_on(zygote, ground, candidate(tmp_path, ELSEWHERE))
    assert timing.verdict in {Verdict.TAMPERING, Verdict.RUNTIME_ERROR, Verdict.FORBIDDEN}
    assert timing.claim is None


def test_an_interpreted_kernel_is_not_timed(zygote: Zygote, ground: Ground, tmp_path: Path) -> None:
    triton = replace(candidate(tmp_path, HONEST), language="triton")
    with pytest.raises(PreFlightError, match="interpreted here"):
        candidate_on(zygote, ground, triton)


def test_a_speed_cannot_stand_beside_a_fault() -> None:
    wrong = {
        "problem": "made", "candidate_sha256": "", "dtype": "fp32", "dims": {}, "mode": "cpu", "evidence": [],
        "seconds": 1.0,
    }  # fmt: skip
    with pytest.raises(ValueError, match="has no speed"):
        Timing.model_validate({**wrong, "verdict": "wrong_values", "claim": 2.0})
    with pytest.raises(ValueError, match="has claim"):
        Timing.model_validate({**wrong, "verdict": "passed"})


def test_shapes_are_named_or_given_whole() -> None:
    problem = read_problem(case_folder("rmsnorm"))
    assert timed_shape(problem, TimingSettings()).dims == {"rows": 512, "width": 1024}
    assert timed_shape(problem, TimingSettings(shape="middle")).dims == {"rows": 4096, "width": 4096}
    with pytest.raises(UsageError, match="wide, middle, small"):
        timed_shape(problem, TimingSettings(shape="large"))
    with pytest.raises(UsageError, match="give exactly rows, width"):
        timed_shape(problem, TimingSettings(dims={"rows": 3}))
    with pytest.raises(UsageError, match="fp32, bf16"):
        make_ground(problem, TimingSettings(dtype="fp16"))


def test_what_needs_a_gpu_says_so_on_a_cpu() -> None:
    assert "GPU" in (absent("eager-graph", "cpu") or "")
    assert absent("compile", "cpu") is None
    assert absent("eager-graph", "cuda") is None
