"""`StudyConfig` and `ExecutionConfig` as Python objects: defaults, what is collected, what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from joulegrid.cluster.carbon.config import CarbonConfig
from joulegrid.errors import UsageError
from joulegrid.jobs.study.execution import ExecutionConfig
from joulegrid.jobs.study.load import make_study
from joulegrid.jobs.study.study import StudyConfig


def test_the_documented_defaults_are_applied_and_described() -> None:
    assert ExecutionConfig().model_dump() == {
        "n_cycles": 1,
        "cycle_order": "interleaved",
        "shuffle_seed": None,
        "experiment_timeout_seconds": 600.0,
        "config_gap_seconds": 0.0,
        "cycle_gap_seconds": 0.0,
        "confirm_above": 100,
        "max_experiments": None,
        "fail_fast": False,
        "isolation": "zygote",
        "max_retries": {},
        "circuit_breaker": {
            "lane_failures": 3,
            "family_failures": 10,
            "study_failures": 20,
            "cooldown_seconds": 60.0,
        },
        "exclusive": "gpu",
        "temperature_gate": None,
        "auto_cycles": None,
        "baseline": {"bare_s": 10.0, "loaded_s": 5.0, "max_age_h": 24.0},
        "wall_clock_timeout_hours": None,
        "carbon": CarbonConfig().model_dump(),
        "energy_budget_j": None,
        "carbon_budget_g": None,
        "archive": None,
        "report": {"baseline": None},
    }
    assert CarbonConfig().model_dump(exclude_none=True) == {"factor_type": "lifecycle"}
    undescribed = [name for name, field in ExecutionConfig.model_fields.items() if not field.description]
    assert not undescribed


@pytest.mark.parametrize(
    ("given", "meant"),
    [("interleave", "interleaved"), ("shuffle", "shuffled"), ("reverse", "reversed"), ("latin_square", "latin_square")],
)
def test_the_verbs_of_an_order_are_accepted(given: str, meant: str) -> None:
    assert ExecutionConfig.model_validate({"cycle_order": given}).cycle_order == meant


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_cycles": 0},
        {"n_cycles": 1.5},
        {"cycle_order": "random"},
        {"cycle_order": ["shuffle"]},
        {"experiment_timeout_seconds": 0},
        {"experiment_timeout_seconds": float("inf")},
        {"config_gap_seconds": -1},
        {"cycle_gap_seconds": float("nan")},
        {"confirm_above": -1},
        {"max_experiments": 0},
        {"isolation": "docker"},
        {"n_cycle": 1},
    ],
)
def test_wrong_execution_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ExecutionConfig.model_validate(wrong)


def test_top_level_fields_are_the_base_experiment() -> None:
    values = {"model": "tiny-lm", "pytorch.seed": 1, "pytorch": {"top_k": 2}, "execution.n_cycles": 3}
    study = StudyConfig.model_validate(values)
    assert study.experiment == {"model": "tiny-lm", "pytorch": {"seed": 1, "top_k": 2}}
    assert study.execution.n_cycles == 3


def test_a_study_survives_its_own_dump() -> None:
    study = StudyConfig.model_validate({"model": "tiny-lm", "sweep": {"pytorch.seed": [1]}, "power": "none"})
    assert StudyConfig.model_validate(study.model_dump(mode="json")) == study


@pytest.mark.parametrize(
    ("power", "source"),
    [(None, "auto"), ("none", "none"), (False, "none"), ("off", "none"), ({}, "auto"), ("model", "model")],
)
def test_power_may_be_one_word(power: object, source: str) -> None:
    assert StudyConfig.model_validate({"model": "tiny-lm", "power": power}).power.source == source


def test_an_unknown_key_and_a_contradiction_are_refused_at_once() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'pytorch\.seed'"):
        StudyConfig.model_validate({"model": "tiny-lm", "pytorch": {"sed": 1}})
    with pytest.raises(UsageError, match="need equal lengths"):
        StudyConfig.model_validate({"model": "tiny-lm", "zip": {"pytorch.seed": [1], "pytorch.top_k": [1, 2]}})


@pytest.mark.parametrize("name", ["cancelled", "unschedulable", "timout"])
def test_retries_that_would_never_happen_are_refused_with_those_that_may(name: str) -> None:
    with pytest.raises(UsageError, match=r"max_retries.*(?s:.*)infra"):
        make_study({"model": "tiny-lm", "execution": {"max_retries": {name: 1}}})
