"""What the models say of themselves: known paths, nearest names, readable complaints."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from joulegrid.cases.workloads.inference_config import InferenceConfig
from joulegrid.cases.workloads.script import ScriptConfig
from joulegrid.jobs.study.schema import (
    checked_together,
    defaults,
    expanded,
    explain_all,
    field_at,
    known_paths,
    typed,
    unknown_in,
    unknown_key,
)
from joulegrid.jobs.study.study import StudyConfig


def complaints(model: Any, mapping: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(mapping)
    return explain_all(model, caught.value)


def test_every_known_path_is_a_field_and_has_a_default_or_is_required() -> None:
    paths = list(known_paths(InferenceConfig))
    assert {"model", "pytorch.batch_size", "pytorch.warmup.max_batches", "resources.gpus"} <= set(paths)
    assert all(field_at(InferenceConfig, path) is not None for path in paths)
    assert defaults(InferenceConfig)["pytorch.warmup.max_batches"] == 8
    assert "model" not in defaults(InferenceConfig)


def test_anything_may_stand_below_an_open_mapping() -> None:
    assert unknown_in(ScriptConfig, {"script": {"path": "x", "globals": {"A": {"b": 1}}, "glob": 1}}) == ["script.glob"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("pytorch.batchsize", "did you mean 'pytorch.batch_size'?"),
        ("batch_size", "did you mean 'pytorch.batch_size'?"),
        ("modle", "did you mean 'model'?"),
        ("", "'': unknown key; valid here: backend, model"),
        ("qqqqq", "valid here: backend, model, pytorch, resources, workload"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_name(path: str, told: str) -> None:
    assert told in unknown_key(path, list(known_paths(InferenceConfig)))


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({}, "model: missing; it has no default, so give a value"),
        ({"pytorch": None}, "pytorch: given null; give a mapping of keys to values"),
        ({"pytorch": {"batch_size": "x"}}, 'pytorch.batch_size: given "x"; it should be a valid integer'),
        ({"pytorch": {"passes": "latency"}}, 'pytorch.passes: given "latency"; give a list, e.g. ["latency"]'),
        ({"pytorch": {"warmup": {"max_batches": 0}}}, "pytorch.warmup.max_batches: given 0; it should be greater"),
        ({"pytorch": {"warmup": {"max_batches": 2, "min_batches": 3}}}, "min_batches 3 is more than max_batches 2"),
        ({"pytorch": {"warmup": -1}}, "pytorch.warmup: given -1; -1 given; a number of batches"),
        ({"backend": None}, "backend: given null; None is not known; allowed: pytorch"),
        ({"pytorch": {"prompts": ["x" * 500]}}, "…"),
    ],
)
def test_a_complaint_says_what_was_given_and_what_is_allowed_once(mapping: dict[str, Any], told: str) -> None:
    found = [
        one for one in complaints(InferenceConfig, mapping) if told != "model" and not (mapping and "model: " in one)
    ]
    assert len(found) == 1
    assert told in found[0]
    assert len(found[0]) < 300


def test_a_field_of_two_forms_complains_once() -> None:
    assert complaints(StudyConfig, {"zip": 3}) == ["zip: given 3; give a mapping of keys to values"]


@pytest.mark.parametrize(
    ("path", "parsed", "text", "expected"),
    [
        ("model", 7, "7", "7"),
        ("model", None, "null", "null"),
        ("pytorch.batch_size", 7, "7", 7),
        ("pytorch.top_k", None, "null", None),
        ("pytorch.passes", ["latency"], "[latency]", ["latency"]),
        ("pytorch.batch_size", "many", "many", "many"),
        ("no.such", 7, "7", 7),
    ],
)
def test_a_flag_is_typed_by_the_schema(path: str, parsed: Any, text: str, expected: Any) -> None:
    assert typed(InferenceConfig, path, parsed, text) == expected


def test_a_section_given_as_one_word_is_written_out() -> None:
    assert expanded(ScriptConfig, {"script": "a.py"}) == {"script": {"path": "a.py"}}
    assert expanded(InferenceConfig, {"pytorch": {"warmup": 3}}) == {"pytorch": {"warmup": 3}}


def test_sections_with_a_validator_of_their_own_are_found() -> None:
    assert list(checked_together(InferenceConfig)) == ["pytorch.warmup"]
    assert list(checked_together(ScriptConfig)) == []
