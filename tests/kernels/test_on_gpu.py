"""What only a GPU can answer: skipped where there is none, and not yet run on one."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from benchmarks.gpu_lab.smoke import Subject, asked
from joulegrid.cases.catalog import case_folder
from joulegrid.cases.manifest import read_problem
from joulegrid.kernels.judge.candidate import read_candidate
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.shipped import handwritten
from joulegrid.kernels.timing.baselines import baseline_member
from joulegrid.kernels.timing.ground import make_ground
from joulegrid.kernels.timing.result import TimingSettings
from joulegrid.kernels.timing.timing import candidate_on


@pytest.mark.gpu
def test_the_judge_s_parts_work_one_by_one() -> None:
    problem = read_problem(case_folder("rmsnorm"))
    settings = TimingSettings(device="cuda", dtype="bf16", shape="small")
    found = asked(Subject(problem, read_candidate(handwritten()["rmsnorm"]), settings))
    assert [one["question"] for one in found if one["error"]] == [], found


@pytest.mark.gpu
def test_a_kernel_is_timed_with_its_device_time_beside() -> None:
    settings = TimingSettings(device="cuda", dtype="bf16", shape="middle", baselines=("eager",), pairs=2)
    ground = make_ground(read_problem(case_folder("rmsnorm")), settings)
    with Zygote("cuda") as zygote:
        timing = candidate_on(zygote, ground, read_candidate(handwritten()["rmsnorm"]))
    assert timing.verdict == "passed", timing.evidence
    assert all(one.device_s is not None and one.device_s <= 1.2 * one.call_s.high for one in timing.members)
    assert timing.conditions is not None and timing.conditions.gpu is not None


@pytest.mark.gpu
def test_a_case_whose_outputs_are_chosen_has_its_oracle_on_the_gpu() -> None:
    problem = read_problem(case_folder("nearest_code"))
    ground = make_ground(problem, TimingSettings(device="cuda", shape=None, baselines=("eager",), pairs=2))
    assert baseline_member(problem, "eager", ground.settings).trusted
    assert {tensor.device.type for tensor in ground.setting.like} == {"cuda"}
