"""What an inference experiment may say, and what `plan` can know of it without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from joulegrid.cases.contract import Places
from joulegrid.cases.workloads.inference import Inference
from joulegrid.cases.workloads.inference_config import InferenceConfig, PytorchConfig
from joulegrid.cases.workloads.prompts import read_prompts
from joulegrid.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

INFERENCE = Inference()


def experiment(**pytorch: Any) -> InferenceConfig:
    return InferenceConfig.model_validate({"model": "tiny-lm", "pytorch": pytorch})


def refusals(values: dict[str, Any]) -> list[str]:
    """Evaluate the rules on dotted paths, as a plan does."""
    read = [rule.check(*(values[path] for path in rule.reads)) for rule in INFERENCE.rules]
    return [reason for reason in read if reason]


SOUND = {
    "pytorch.n_prompts": None,
    "pytorch.batch_size": 8,
    "pytorch.do_sample": False,
    "pytorch.temperature": 1.0,
    "pytorch.attn_implementation": None,
    "pytorch.precision": "fp32",
    "resources.gpus": None,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"precision": "int3"},
        {"batch_size": 0},
        {"batch_size": 1.5},
        {"max_new_tokens": 0},
        {"temperature": -1},
        {"top_p": 1.2},
        {"top_k": 0},
        {"attn_implementation": "fastest"},
        {"warmup": -1},
        {"warmup": {"max_batches": 2, "min_batches": 3}},
        {"warmup": {"batches": 3}},
        {"passes": []},
        {"passes": ["latency", "latency"]},
        {"passes": ["accuracy"]},
        {"min_window_seconds": -0.1},
        {"batchsize": 4},
    ],
)
def test_a_bad_value_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        experiment(**wrong)


def test_an_unknown_back_end_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"'vllm' is not known; allowed: pytorch \(installed\)"):
        InferenceConfig.model_validate({"model": "tiny-lm", "backend": "vllm"})


def test_a_model_must_be_named() -> None:
    with pytest.raises(ValidationError, match="model"):
        InferenceConfig.model_validate({})


def test_the_experiment_survives_json() -> None:
    config = experiment(warmup=3, passes=["phases", "throughput"])
    assert config.pytorch.passes == ("throughput", "phases")
    assert InferenceConfig.model_validate(json.loads(config.model_dump_json())) == config


def test_every_field_is_described() -> None:
    for model in (InferenceConfig, PytorchConfig):
        undescribed = [name for name, field in model.model_fields.items() if not field.description]
        assert not undescribed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"pytorch.n_prompts": 4}, "n_prompts 4 is less than batch_size 8"),
        ({"pytorch.do_sample": True, "pytorch.temperature": 0.0}, "temperature"),
        ({"pytorch.attn_implementation": "flash_attention_2"}, "fp32"),
        ({"resources.gpus": 2}, "one GPU"),
    ],
)
def test_rules_refuse_combinations(change: dict[str, Any], reason: str | None) -> None:
    found = refusals(SOUND | change)
    assert [reason in text for text in found if reason] == ([True] if reason else [])


def test_sampling_parameters_are_ignored_without_sampling() -> None:
    (ignored,) = INFERENCE.ignored
    assert ignored.when(False)
    assert not ignored.when(True)
    assert "pytorch.temperature" in ignored.fields


def test_inputs_fingerprint_the_model_and_the_bundled_prompts(tmp_path: Path) -> None:
    inputs = INFERENCE.inputs(experiment(), Places(tmp_path))
    assert set(inputs) == {"model", "pytorch.prompts"}
    assert all(one.fingerprint.startswith("sha256:") for one in inputs.values())
    (tmp_path / "mine.txt").write_text("One prompt\n\nAnother\n")
    mine = INFERENCE.inputs(experiment(prompts="mine.txt"), Places(tmp_path))
    assert mine["pytorch.prompts"].fingerprint != inputs["pytorch.prompts"].fingerprint
    assert mine["pytorch.prompts"].location == str(tmp_path / "mine.txt")


def test_too_few_prompts_are_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds 256 prompts and the experiment asks for 300"):
        INFERENCE.inputs(experiment(batch_size=300), Places(tmp_path))
    with pytest.raises(UsageError, match="is not a file"):
        INFERENCE.inputs(experiment(prompts="none.jsonl"), Places(tmp_path))


@pytest.mark.parametrize("line", ["{", '{"question": "?"}', '{"prompt": ""}', '["a"]', '{"text": 3}'])
def test_a_bad_line_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    assert read_prompts(path, 1) == ["fine"]
    with pytest.raises(UsageError, match=r"prompts\.jsonl:2"):
        read_prompts(path)


def test_the_estimate_grows_with_batch_and_precision(tmp_path: Path) -> None:
    places = Places(tmp_path)
    small = INFERENCE.estimate(experiment(min_window_seconds=2), places)
    large = INFERENCE.estimate(experiment(batch_size=64, passes=["throughput"]), places)
    half = INFERENCE.estimate(experiment(precision="bf16"), places)
    assert small.memory_bytes is not None
    assert large.memory_bytes is not None
    assert half.memory_bytes is not None
    assert small.memory_bytes > 4 * 918_656
    assert half.memory_bytes * 2 == small.memory_bytes
    assert large.memory_bytes > small.memory_bytes
    assert (small.least_seconds, large.least_seconds) == (8.0, 1.0)


def test_planning_imports_neither_torch_nor_its_friends(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from joulegrid.cases.contract import Places\n"
        "from joulegrid.cases.workloads.inference import Inference\n"
        "one = Inference(); config = one.Config(model='tiny-lm'); places = Places(Path(sys.argv[1]))\n"
        "one.inputs(config, places), one.estimate(config, places)\n"
        "print([name for name in ('torch', 'transformers', 'numpy', 'pyarrow', 'ray') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr
