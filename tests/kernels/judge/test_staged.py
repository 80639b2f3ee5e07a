"""A GPU's way through judge and timer, walked on a CPU: outputs copied out, a second clock, flushes, device time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from joulegrid.cases.catalog import case_folder  # noqa: E402
from joulegrid.cases.manifest import read_problem  # noqa: E402
from joulegrid.kernels.draw import Draw  # noqa: E402
from joulegrid.kernels.judge.candidate import ReferenceCode, read_candidate  # noqa: E402
from joulegrid.kernels.judge.session import open_session  # noqa: E402
from joulegrid.kernels.judge.zygote import Zygote  # noqa: E402
from joulegrid.kernels.problem import Problem  # noqa: E402
from joulegrid.kernels.timing.afterwards import Afterwards  # noqa: E402
from joulegrid.kernels.timing.baselines import baseline_member  # noqa: E402
from joulegrid.kernels.timing.comparison import Comparison, compare_members  # noqa: E402
from joulegrid.kernels.timing.estimates import Estimates  # noqa: E402
from joulegrid.kernels.timing.ground import make_ground  # noqa: E402
from joulegrid.kernels.timing.inputs import fresh_inputs  # noqa: E402
from joulegrid.kernels.timing.member import Member, timed_member  # noqa: E402
from joulegrid.kernels.timing.pairs import FLUSHES  # noqa: E402
from joulegrid.kernels.timing.result import TimingSettings  # noqa: E402
from joulegrid.kernels.timing.series import Course, run_course  # noqa: E402
from joulegrid.kernels.trial import make_trial  # noqa: E402

SHORT = TimingSettings(
    dims={"rows": 32, "width": 256}, pairs=2, series_s=0.001, warm_up_s=0.0, most_calls=4, baselines=("eager",),
    oracle_samples=1,
)  # fmt: skip
PATCHED = """LANGUAGE = "torch"
import torch


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        torch.Tensor.copy_ = lambda self, other, *rest: self.zero_()
        return torch.nn.functional.rms_norm(x, (x.shape[-1],), self.weight, self.eps)
"""


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote(staged=True) as running:
        yield running


@pytest.fixture(scope="module")
def problem() -> Problem:
    return read_problem(case_folder("rmsnorm"))


def reference(problem: Problem) -> ReferenceCode:
    return ReferenceCode(problem.file.read_text(encoding="utf-8"), problem.class_name)


def test_outputs_are_copied_into_memory_of_the_judge(zygote: Zygote, problem: Problem) -> None:
    trial = make_trial(problem, Draw(problem.tiny.dims, "fp32", 1))
    sets = [one.arguments for one in fresh_inputs(problem, trial.draw, 4)]
    with open_session(zygote, reference(problem)) as session:
        session.build(trial.init, "fp32")
        session.load(trial.state)
        outcome = session.call(trial.inputs, [trial.eager])
        assert torch.equal(outcome.outputs[0], trial.eager) and not outcome.changed_inputs
        session.prepare(sets, [trial.eager])
        session.run_series(4)
        for flush in (False, True):
            session.refill(sets[::-1])
            elapsed_ns = session.run_series(4, describe=False, flush=flush)
            assert session.device_ns is not None and 0 < session.device_ns < elapsed_ns
            assert session.revealed_ns is not None and session.revealed_ns > 0
            wanted = trial.module()(*sets[0].args)
            assert torch.equal(session.outputs(3, [trial.eager])[1][0], wanted)
        assert session.run_flushes(4) > 0
        session.refill(sets)
        times_ns, _ = session.device_times(4, 0.01)
        assert len(times_ns) == 4 and min(times_ns) > 0


def test_a_copy_that_the_candidate_has_patched_is_not_the_one_that_is_used(
    zygote: Zygote, problem: Problem, tmp_path: Path
) -> None:
    path = tmp_path / "patched.py"
    path.write_text(PATCHED)
    trial = make_trial(problem, Draw(problem.tiny.dims, "fp32", 1))
    with open_session(zygote, read_candidate(path)) as session:
        session.build(trial.init, "fp32")
        session.load(trial.state)
        outcome = session.call(trial.inputs, [trial.eager])
    assert float(outcome.outputs[0].abs().max()) > 0


def test_members_have_a_second_clock_and_device_times(zygote: Zygote, problem: Problem, tmp_path: Path) -> None:
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path)
    try:
        ground = make_ground(problem, SHORT)
        members = [baseline_member(problem, "eager", SHORT), baseline_member(problem, "eager", SHORT, "same")]
        own = replace(members[0], name="candidate")
        afterwards = Afterwards(problem, ground.draw, ground.setting.state)
        compared = compare_members(zygote, [own, *members], ground, afterwards.verify, Comparison())
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before
    assert all(one.device_ns is not None and one.copied_ns is not None for one in compared.samples)
    assert all((one.device_ns or 0) < one.elapsed_ns for one in compared.samples)
    timing = Estimates(compared, ["eager", "same"], 0.95).member("candidate")
    assert timing.device_s is not None and timing.device_s > 0


def test_a_course_with_a_flush_has_series_of_flushes_alone(zygote: Zygote, problem: Problem) -> None:
    ground = make_ground(problem, SHORT)
    sets = fresh_inputs(problem, ground.draw, 4)
    member: Member = baseline_member(problem, "eager", SHORT)
    samples: list[Any] = []
    with timed_member(zygote, member, ground.setting) as timed:
        timed.prepare([sets[0].arguments])
        timed.first_call()
        timed.prepare([one.arguments for one in sets])
        course = Course(
            0,
            2,
            2,
            lambda count: fresh_inputs(problem, ground.draw, count),
            list,
            dict,
            (),
            lambda left: None,
            flush=True,
        )
        run_course({"eager": timed}, course, samples)
    assert sorted(one.calls for one in samples if one.member == FLUSHES) == [2, 2, 4, 4]
    assert len(samples) == 8
