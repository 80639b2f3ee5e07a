"""The workload `inference`: generate with a language model; its speed, its latency and its two phases.

Three passes, so that none disturbs another: generation left alone (whose joules are divided by its tokens),
generation with a stamp after each token, and the two kinds of forward pass apart. Importable without torch.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from joulegrid.cases.contract import Estimate, ExperimentConfig, Ignored, Input, Measurement, Places, Probe, Rule
from joulegrid.cases.models import hub_cache, model_folder, model_shape, resolve_model
from joulegrid.cases.workloads.inference_config import IGNORED, RULES, InferenceConfig
from joulegrid.cases.workloads.prompts import prompt_file, read_prompts, resolve_prompts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from joulegrid.cases.workloads.generation import Batch, TextModel
    from joulegrid.cases.workloads.inference_passes import Warm
    from joulegrid.jsontypes import Json

_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
_BYTES_A_TOKEN = 2
"""Text bytes assumed for one token in an estimate; with tiny-lm the manual takes 2.5, larger vocabularies more."""


PRELOAD = (
    "torch",
    "safetensors.torch",
    "transformers",
    "transformers.generation.utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "joulegrid.cases.workloads.generation",
    "joulegrid.cases.workloads.inference_metrics",
    "joulegrid.cases.workloads.inference_passes",
    "joulegrid.cases.workloads.step_log",
)
"""What `transformers` imports lazily while a model loads and generates; found by comparing `sys.modules`."""


class Inference:
    """Generate text with a model (`InferenceConfig`)."""

    name = "inference"
    revision = 1
    Config: type[ExperimentConfig] = InferenceConfig
    rules: tuple[Rule, ...] = RULES
    ignored: tuple[Ignored, ...] = IGNORED
    input_fields: tuple[str, ...] = ("model", "pytorch.prompts", "pytorch.n_prompts", "pytorch.batch_size")

    def preload(self, config: ExperimentConfig) -> tuple[str, ...]:
        """Return torch, and of transformers what a causal language model needs."""
        return PRELOAD

    def inputs(self, config: ExperimentConfig, places: Places) -> dict[str, Input]:
        """Resolve the model and the prompts; `UsageError` where one is missing or the prompts are too few."""
        config = _own(config)
        prompts = resolve_prompts(config.pytorch.prompts, config.pytorch.prompts_used, places)
        return {"model": resolve_model(config.model, places), "pytorch.prompts": prompts}

    def estimate(self, config: ExperimentConfig, places: Places) -> Estimate:
        """Memory as parameters · bytes + KV cache, and the sum of the shortest windows. No hardware, no network.

        KV cache: 2 · layers · KV heads · head size · bytes · batch size · (longest prompt + max_new_tokens), a prompt
        token for every two bytes of text. Activations and the allocator's reserve are not in it. `None` for a hub
        model that is not in the local cache. Loading and warm-up are not in the time.
        """
        config = _own(config)
        least_seconds = config.pytorch.least_window_s * len(config.pytorch.windows)
        folder = model_folder(config.model, places) or hub_cache(config.model)
        return Estimate(_memory_bytes(config, folder, places) if folder else None, least_seconds)

    def run(self, config: ExperimentConfig, inputs: Mapping[str, str], probe: Probe) -> Measurement:
        """Load, warm up and measure; `LaneCannotError` for what the lane cannot do."""
        from joulegrid.cases.workloads.generation import quiet, refuse

        config = _own(config)
        refuse(config.pytorch, probe.lane)
        with quiet():
            session = _prepare(config, inputs, probe)
            return _measure(session, probe)


@dataclass(frozen=True, slots=True)
class _Session:
    """All that is ready before the first window."""

    text: TextModel
    batches: list[Batch]
    load_s: float
    warm: Warm


def _prepare(config: InferenceConfig, inputs: Mapping[str, str], probe: Probe) -> _Session:
    """Load model and prompts, pin the threads, warm up."""
    import torch

    from joulegrid.cases.workloads.generation import load
    from joulegrid.cases.workloads.inference_passes import warm_up
    from joulegrid.kernels.device import reset_peak_memory, synchronize

    if probe.lane.cpus:
        torch.set_num_threads(len(probe.lane.cpus))
    probe.progress(0, 1, "loading")
    started = time.monotonic()
    text = load(config.pytorch, inputs["model"], probe.lane.device)
    synchronize(text.device)
    load_s = time.monotonic() - started
    prompts = read_prompts(Path(inputs["pytorch.prompts"]), config.pytorch.prompts_used)
    batches = text.batches(prompts)
    reset_peak_memory(text.device)
    probe.progress(0, 1, "warming up")
    text.seed()
    warm = warm_up(text, batches)  # workspaces and caches are resident too, as they are between two requests
    return _Session(text, batches, load_s, warm)


def _measure(session: _Session, probe: Probe) -> Measurement:
    """Run the passes that were asked for. Throughput comes first, right after the warm-up."""
    from joulegrid.cases.workloads import inference_metrics as numbers
    from joulegrid.cases.workloads import inference_passes as passes
    from joulegrid.cases.workloads.step_log import calls, write_step_log

    text, batches = session.text, session.batches
    metrics: dict[str, Json] = {}
    work: dict[str, float] = {}
    counts: numbers.Produced | None = None
    works: dict[str, dict[str, float]] = {}
    if "throughput" in text.config.passes:
        generated = passes.throughput(text, batches, probe)
        counts = numbers.produced(text, batches, generated.tokens)
        metrics["throughput"] = numbers.throughput_metrics(generated, counts)
        metrics |= {"tokens": numbers.token_metrics(counts), "flops": numbers.flops_metrics(text.model, counts)}
        work = counts.work
    if "latency" in text.config.passes:
        probe.progress(1, 3, "latency")
        timed = passes.latency(text, batches, probe)
        metrics["latency"] = numbers.latency_metrics(timed, text)
        steps = write_step_log(probe.scratch, "latency", calls(timed, batches))
        metrics["latency"] |= {"step_log": steps}
    if "phases" in text.config.passes:
        probe.progress(2, 3, "phases")
        prefilled, decoded = passes.prefill(text, batches, probe), passes.decode(text, batches[0], probe)
        metrics["prefill"] = numbers.prefill_metrics(prefilled, batches)
        metrics["decode"] = numbers.decode_metrics(decoded, batches[0])
        works = numbers.phase_work(prefilled, decoded, batches)
    probe.idle()  # last: right after the warm-up it would let the device cool before its first window
    differences = numbers.decode_by_difference(counts) if counts is not None and "prefill" in works else ()
    metrics |= _circumstances(session)
    headline = "throughput" if work else None
    return Measurement(metrics, work, headline, _effective(session, probe), works, differences)


def _circumstances(session: _Session) -> dict[str, Json]:
    """Numbers about the session that no window measured."""
    from joulegrid.cases.workloads.inference_metrics import parameter_count
    from joulegrid.kernels.device import peak_memory

    model, peak = session.text.model, peak_memory(session.text.device)
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return {
        "memory": {"peak_bytes": peak.bytes, "kind": peak.kind},
        "model": {"parameters": parameter_count(model), "weight_bytes": weights, "class": type(model).__name__},
        "load_s": session.load_s,
        "warmup": asdict(session.warm),
    }


def _effective(session: _Session, probe: Probe) -> dict[str, Json]:
    """Choices that the experiment left open, as they were made."""
    import torch
    import transformers

    from joulegrid.kernels.device import device_name

    text = session.text
    return {
        "attn_implementation": text.model.config._attn_implementation,
        "dtype": str(text.model.dtype).removeprefix("torch."),
        "device": device_name(text.device),
        "threads": torch.get_num_threads(),
        "min_window_seconds": text.config.window_s(probe.lane),
        "n_prompts": sum(len(batch.lengths) for batch in session.batches),
        "eos_token_ids": list(text.eos_ids),
        "pad_token_id": text.pad_id,
        "torch": str(torch.__version__),
        "transformers": str(transformers.__version__),
    }


def _memory_bytes(config: InferenceConfig, folder: Path, places: Places) -> int | None:
    shape, params = model_shape(folder), config.pytorch
    kv_bytes = shape.kv_bytes_per_token(_BYTES[params.precision])
    if kv_bytes is None:
        return None
    prompts = read_prompts(prompt_file(params.prompts, places), params.prompts_used)
    longest = max((len(prompt.encode()) for prompt in prompts), default=0) // _BYTES_A_TOKEN
    tokens = params.batch_size * (longest + params.max_new_tokens)
    return shape.parameters * _BYTES[params.precision] + kv_bytes * tokens


def _own(config: ExperimentConfig) -> InferenceConfig:
    assert isinstance(config, InferenceConfig), f"{type(config).__name__} is not an inference experiment"
    return config
