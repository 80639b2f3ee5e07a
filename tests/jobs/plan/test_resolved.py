"""The study that a run keeps stands alone: bases, flags and files are in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.resolved import resolved_yaml
from joulegrid.jobs.study.load import Overrides, load_study
from joulegrid.jobs.study.yamlfile import LARGE, parse, written


def test_a_resolved_study_plans_the_same_points_from_any_folder(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "a home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / "job.py").write_text("x = y = z = 0\ndef main():\n    return {}\n")
    (home / "base.yaml").write_text("workload: script\nscript: {path: job.py, globals: {y: 2}}\n")
    (home / "study.yaml").write_text("study_name: s\nbase: base.yaml\nsweep: {script.globals.x: [1, 2]}\n")
    overrides = Overrides(
        sets=("script.globals.z=7",), sweeps=("script.globals.y=4,5",), execution={"n_cycles": 3}, power="none"
    )
    study = load_study(home / "study.yaml", overrides)
    plan = Plan(study)
    copy = elsewhere / "resolved.yaml"
    copy.write_text(resolved_yaml(study, plan.workload.input_fields))
    again = Plan(load_study(copy))
    assert [point.key for point in again] == [point.key for point in plan]
    assert again.study.execution == study.execution
    assert again.study.power == study.power
    assert again.study.study_name == "s"


def test_groups_zips_and_explicit_points_survive(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        """
        model: tiny-lm
        pytorch.n_prompts: 8
        sweep:
          pytorch.max_new_tokens: [4, 8]
          sampling: [{}, {pytorch.do_sample: true, pytorch.temperature: [0.5, 1.0]}]
        zip: {pytorch.batch_size: [1, 8], pytorch.precision: [fp32, bf16]}
        experiments: [{pytorch: {batch_size: 2}}]
        """
    )
    plan = Plan(load_study(tmp_path / "study.yaml"))
    copy = tmp_path / "resolved.yaml"
    copy.write_text(resolved_yaml(plan.study, plan.workload.input_fields))
    again = Plan(load_study(copy))
    assert [point.key for point in again] == [point.key for point in plan]
    assert again.study_design_hash == plan.study_design_hash


def test_a_field_that_is_set_by_a_flag_is_swept_no_longer(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("model: tiny-lm\nsweep: {pytorch.batch_size: [1, 2], pytorch.seed: [0, 1]}\n")
    plan = Plan(load_study(tmp_path / "study.yaml", Overrides(sets=("pytorch.batch_size=4",))))
    assert {point.values["pytorch.batch_size"] for point in plan} == {4}
    assert plan.varied == ("pytorch.seed",)


@pytest.mark.parametrize(
    "odd", ["no", "ü\u2028\U0001f600", "\x7f\n'\"", 1e-05, 1e300, None, True, {"a b": [1.5, "1e3"]}]
)
def test_a_large_study_reads_back_as_it_was_written(odd: object) -> None:
    for size in (1, LARGE):
        study = {"study_name": "s", "sweep": {"script.globals.x": ["x" * size, odd, 7]}}
        assert parse(written(study), "study.yaml") == study
