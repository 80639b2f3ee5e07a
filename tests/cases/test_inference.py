"""The workload on the packaged model: real weights, real generation, in this process."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from joulegrid.cases.contract import LaneCannotError, LaneView, Measurement, Places
from joulegrid.cases.models import CASES
from joulegrid.cases.workloads.generation import TextModel, generation_config, load, quiet, until_end
from joulegrid.cases.workloads.inference import Inference
from joulegrid.cases.workloads.inference_config import InferenceConfig, PytorchConfig
from joulegrid.cases.workloads.inference_metrics import produced, quantiles
from joulegrid.cases.workloads.inference_passes import Stepper
from joulegrid.cases.workloads.prompts import BUNDLED, read_prompts
from tests.cases.local_probe import LocalProbe

INFERENCE = Inference()
QUICK = {"min_window_seconds": 0, "warmup": 0, "max_new_tokens": 6}


def measure(probe: LocalProbe, **pytorch: Any) -> Measurement:
    config = InferenceConfig.model_validate({"model": "tiny-lm", "pytorch": QUICK | pytorch})
    inputs = INFERENCE.inputs(config, Places(probe.scratch))
    return INFERENCE.run(config, {path: one.location for path, one in inputs.items()}, probe)


def text_model(**pytorch: Any) -> TextModel:
    config = PytorchConfig.model_validate(pytorch)
    with quiet():
        return load(config, str(CASES / "tiny-lm"), "cpu")


@pytest.fixture
def probe(tmp_path: Path) -> LocalProbe:
    return LocalProbe(tmp_path)


def test_all_passes_run_in_windows_of_their_own(probe: LocalProbe) -> None:
    done = measure(probe, batch_size=4, n_prompts=6, warmup={"max_batches": 3})
    assert [mark.name for mark in probe.marks] == ["throughput", "latency", "prefill", "decode"]
    edges = [edge for mark in probe.marks for edge in (mark.t0_ns, mark.t1_ns)]
    assert edges == sorted(edges)
    assert done.headline == "throughput"
    assert done.work["output_token"] == 6 * 6 * probe.marks[0].repeats
    assert done.metrics["throughput"]["batches"] == 2 * probe.marks[0].repeats
    assert done.metrics["latency"]["time_to_first_token_s"]["n"] == 6 * probe.marks[1].repeats
    assert done.metrics["latency"]["inter_token_latency_s"]["n"] == 6 * 5 * probe.marks[1].repeats
    assert done.metrics["decode"]["tokens_per_repeat"] == 4 * 5
    assert done.metrics["prefill"]["tokens_per_repeat"] == done.metrics["tokens"]["prompt"]
    assert 2 <= done.metrics["warmup"]["batches"] <= 3
    assert done.effective["attn_implementation"] == "sdpa"
    assert done.effective["threads"] == len(probe.lane.cpus) == 1
    assert done.metrics["model"]["parameters"] == 918_656


def test_a_window_is_extended_by_repetition(probe: LocalProbe) -> None:
    done = measure(probe, passes=["throughput"], min_window_seconds=0.2, warmup=1)
    (mark,) = probe.marks
    assert mark.repeats > 1
    assert mark.seconds >= 0.2
    assert done.work["request"] == mark.repeats == done.metrics["throughput"]["repeats"]
    assert done.metrics["throughput"]["seconds"] == mark.seconds


def test_ragged_prompts_and_early_ends_are_counted_without_padding(probe: LocalProbe) -> None:
    counted = measure(probe, batch_size=16, max_new_tokens=24, ignore_eos=False, passes=["throughput", "latency"])
    tokens = counted.metrics["tokens"]
    assert tokens["prompt_min"] < tokens["prompt_mean"] < tokens["prompt_max"]
    assert tokens["output_min"] < tokens["output_max"] <= 24
    # Each prompt alone needs no padding at all, so its lengths are beyond doubt.
    alone = text_model(batch_size=1, max_new_tokens=24, ignore_eos=False)
    batches = alone.batches(read_prompts(BUNDLED, 16))
    assert all(batch.width == batch.lengths[0] for batch in batches)
    outputs = [alone.generate(batch)[0].tolist() for batch in batches]
    assert all(output[-1] in alone.eos_ids or len(output) == 24 for output in outputs)
    assert tokens["output"] == sum(len(output) for output in outputs)
    assert tokens["prompt"] == sum(batch.width for batch in batches)
    gaps = counted.metrics["latency"]["inter_token_latency_s"]["n"]
    assert gaps == probe.marks[1].repeats * (tokens["output"] - 16)


def test_generation_goes_on_over_the_end_token_when_it_is_ignored() -> None:
    text = text_model(batch_size=8, max_new_tokens=24)
    (batch,) = text.batches(read_prompts(BUNDLED, 8))
    tokens = text.generate(batch)
    assert tuple(tokens.shape) == (8, 24)
    assert any(until_end(row, text.eos_ids) < 24 for row in tokens.tolist()), "no end token came: nothing was tested"
    counts = produced(text, [batch], [tokens, tokens])
    assert counts.work == {"output_token": 384.0, "total_token": 384.0 + 2 * sum(batch.lengths), "request": 16.0}


def test_nothing_after_the_first_end_token_counts() -> None:
    assert until_end([5, 6, 1, 0, 0], (1,)) == 3
    assert until_end([5, 1, 1], (1,)) == 2
    assert until_end([5, 6], (1,)) == 2
    assert until_end([5, 9, 1], (1, 9)) == 2


def test_the_same_seed_draws_the_same_text_and_another_seed_another(tmp_path: Path) -> None:
    drawn = {"do_sample": True, "batch_size": 4, "max_new_tokens": 12, "passes": ["throughput"]}
    first, again, other = (
        measure(LocalProbe(tmp_path), seed=seed, **drawn).metrics["tokens"]["output_sha256"] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_greedy_text_is_the_same_every_time_and_knows_the_facts() -> None:
    answers = [json.loads(line)["answer"] for line in BUNDLED.read_text().splitlines()[:32]]
    text = text_model(batch_size=32, max_new_tokens=8, ignore_eos=False)
    (batch,) = text.batches(read_prompts(BUNDLED, 32))
    first = text.generate(batch)
    assert first.equal(text.generate(batch))
    said = [reply.strip() for reply in text.tokenizer.batch_decode(first, skip_special_tokens=True)]
    right = sum(reply.startswith(answer) for reply, answer in zip(said, answers, strict=True))
    assert right >= 28, said  # 96 % over all 256 when it was built


def test_steps_from_a_filled_cache_give_the_text_that_generate_gives() -> None:
    import torch

    text = text_model(batch_size=4, max_new_tokens=8)
    (batch,) = text.batches(read_prompts(BUNDLED, 4))
    stepper = Stepper(text, batch, 7)
    generated = text.generate(batch)
    for _ in range(2):  # each time from the same place
        assert torch.cat(stepper.run(), dim=1).equal(generated)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precisions_are_really_used(precision: str, probe: LocalProbe) -> None:
    done = measure(probe, precision=precision, passes=["throughput"], max_new_tokens=2)
    assert done.effective["dtype"] == {"fp16": "float16", "bf16": "bfloat16"}[precision]
    assert done.metrics["model"]["weight_bytes"] == 2 * 918_656


def test_eager_attention_is_reported(probe: LocalProbe) -> None:
    done = measure(probe, attn_implementation="eager", passes=["phases"], max_new_tokens=1)
    assert done.effective["attn_implementation"] == "eager"
    assert done.headline is None
    assert done.work == {}
    assert done.metrics["decode"]["tokens_per_s"] is None
    assert "max_new_tokens 1" in done.metrics["decode"]["reason"]


def test_what_the_lane_cannot_do_is_said(probe: LocalProbe) -> None:
    with pytest.raises(LaneCannotError, match="needs a CUDA lane"):
        measure(probe, attn_implementation="flash_attention_2", precision="bf16")
    with pytest.raises(LaneCannotError, match="2048 positions"):
        measure(probe, max_new_tokens=2048)


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
def test_a_gpu_lane_without_a_gpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaneCannotError, match="sees none"):
        measure(LocalProbe(tmp_path, lane=LaneView(device="cuda")))


def test_no_sampling_default_of_the_library_slips_in() -> None:
    drawn = generation_config(PytorchConfig(do_sample=True, ignore_eos=False), (1,), 0)
    assert (drawn.top_k, drawn.top_p, drawn.temperature, drawn.eos_token_id) == (0, 1.0, 1.0, [1])
    greedy = generation_config(PytorchConfig(), (1,), 0)
    assert (greedy.top_k, greedy.temperature, greedy.eos_token_id) == (None, None, None)


def test_quantiles_are_linear_between_neighbours() -> None:
    assert quantiles([4.0, 1.0, 2.0, 3.0]) == {"p50": 2.5, "p90": pytest.approx(3.7), "p99": pytest.approx(3.97)} | {
        "mean": 2.5,
        "n": 4,
    }
    assert quantiles([]) == {"p50": None, "p90": None, "p99": None, "mean": None, "n": 0}


def test_a_process_forked_after_the_preload_generates_and_prints_nothing(tmp_path: Path) -> None:
    code = """
        import importlib, os, sys
        from pathlib import Path
        from joulegrid.cases.contract import Places
        from joulegrid.cases.workloads.inference import Inference
        from tests.cases.local_probe import LocalProbe
        one = Inference()
        for name in one.preload(one.Config(model="tiny-lm")):
            importlib.import_module(name)
        before = set(sys.modules)
        child = os.fork()
        if child == 0:
            pytorch = {"min_window_seconds": 0, "warmup": 2, "batch_size": 8, "max_new_tokens": 4}
            config = one.Config.model_validate({"model": "tiny-lm", "pytorch": pytorch})
            places = Places(Path(sys.argv[1]))
            inputs = {path: found.location for path, found in one.inputs(config, places).items()}
            done = one.run(config, inputs, LocalProbe(places.study_folder))
            late = {name.split(".")[0] for name in set(sys.modules) - before}
            os._exit(0 if done.work["output_token"] == 32 and not late & {"torch", "transformers"} else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
