"""The Python interface: a path, a config object or keywords, and what comes back."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import yaml

from joulegrid import (
    ExecutionConfig,
    ExperimentConfig,
    ExperimentResult,
    StudyConfig,
    StudyResult,
    expand_grid,
    run_experiment,
    run_study,
)
from joulegrid.errors import UsageError
from tests.jobs.studies import study_of, write_script


def test_a_grid_of_two_by_two_is_four_experiments_on_any_machine() -> None:
    sweep = {"pytorch.batch_size": [1, 8], "pytorch.precision": ["fp32", "fp16"]}
    configs = expand_grid(model="tiny-lm", pytorch={"n_prompts": 8}, sweep=sweep)
    assert [(one.pytorch.batch_size, one.pytorch.precision) for one in configs] == [  # type: ignore[attr-defined]
        (1, "fp32"),
        (1, "fp16"),
        (8, "fp32"),
        (8, "fp16"),
    ]


def test_an_experiment_config_takes_its_workloads_own_class_and_refuses_what_it_does_not_know() -> None:
    config = ExperimentConfig(workload="inference", model="tiny-lm", pytorch={"batch_size": 4})
    assert type(config).__name__ == "InferenceConfig"
    assert config == ExperimentConfig.model_validate({"model": "tiny-lm", "pytorch": {"batch_size": 4}})
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config
    with pytest.raises(ValueError, match="batchsize"):
        ExperimentConfig(model="tiny-lm", pytorch={"batchsize": 4})
    with pytest.raises(UsageError, match="workload: 'inferense' is not known"):
        ExperimentConfig(workload="inferense")


def test_a_study_config_is_made_of_keywords_as_a_study_file_is() -> None:
    study = StudyConfig(model="tiny-lm", sweep={"pytorch.batch_size": [1, 2]}, execution=ExecutionConfig(n_cycles=2))
    assert study.execution.cycle_order == "interleaved"
    assert len(expand_grid(study)) == 2
    with pytest.raises(UsageError, match=r"pytorch\.batch_size"):
        StudyConfig(model="tiny-lm", sweep={"pytorch.batchsize": [1, 2]})


@pytest.mark.usefixtures("ray_here")
def test_a_study_runs_from_a_path_an_object_a_mapping_or_keywords(tmp_path: Path) -> None:
    mapping = study_of(tmp_path, xs=[1, 2])
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(mapping))
    results = [
        run_study(path),
        run_study(StudyConfig.model_validate(mapping)),
        run_study(mapping),
        run_study(**mapping),
        run_study(path, execution={"n_cycles": 1}, fresh=True),
    ]
    assert all(isinstance(result, StudyResult) and result.counts.done == 2 for result in results)
    assert len({result.study_design_hash for result in results}) == 1
    assert (Path(results[0].run) / "manifest.json").is_file()


@pytest.mark.usefixtures("ray_here")
def test_one_experiment_runs_from_keywords_and_its_failure_is_returned_not_raised(tmp_path: Path) -> None:
    good = write_script(tmp_path)
    done = run_experiment(
        workload="script", script={"path": str(good), "globals": {"x": 3}}, output=str(tmp_path / "o")
    )
    assert isinstance(done, ExperimentResult)
    assert done.metrics == {"double": 6}
    bad = write_script(tmp_path, "def main():\n    raise ValueError('no')", "bad.py")
    config = ExperimentConfig(workload="script", script={"path": str(bad)})
    failed = run_experiment(config, output=str(tmp_path / "o"))
    assert failed.status == "failed"
    assert failed.failure is not None
    assert failed.failure.message == "no"


def test_more_than_one_experiment_is_refused_where_one_is_meant() -> None:
    with pytest.raises(UsageError, match="2 experiments"):
        run_experiment(model="tiny-lm", sweep={"pytorch.batch_size": [1, 2]})
