"""From marks, stamps and tokens to numbers with units in their names. Pure: nothing is run here."""

from __future__ import annotations

import hashlib
import itertools
import math
import statistics
from array import array
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from joulegrid.cases.contract import Difference
from joulegrid.kernels.flops import FORMULA, SOURCE, DecoderShape, generation_flops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joulegrid.cases.contract import Mark
    from joulegrid.cases.workloads.generation import Batch, TextModel
    from joulegrid.cases.workloads.inference_passes import Decoded, Generated, Timed
    from joulegrid.jsontypes import Json


@dataclass(frozen=True, slots=True)
class Produced:
    """Token counts of generation, request by request, over all repetitions; padding is in none of them."""

    prompts: list[int]
    """Prompt tokens of each request of one repetition."""
    outputs: list[int]
    """Output tokens of each request of every repetition, in order."""
    sha256: str
    """Over the output tokens of the first repetition: equal for equal texts."""

    @property
    def repeats(self) -> int:
        """Repetitions."""
        return len(self.outputs) // len(self.prompts)

    @property
    def first(self) -> list[tuple[int, int]]:
        """(prompt tokens, output tokens) of each request of the first repetition."""
        return list(zip(self.prompts, self.outputs, strict=False))

    @property
    def work(self) -> dict[str, float]:
        """What the whole window produced; a total token is one of the prompt or of the output."""
        output = sum(self.outputs)
        total = output + self.repeats * sum(self.prompts)
        return {"output_token": float(output), "total_token": float(total), "request": float(len(self.outputs))}


def produced(text: TextModel, batches: list[Batch], tokens: list[Any]) -> Produced:
    """Count what calls over `batches`, repeated in the same order, gave."""
    outputs: list[int] = []
    digest = hashlib.sha256()
    for call, part in enumerate(tokens):
        lengths = text.output_lengths(part)
        outputs.extend(lengths)
        if call < len(batches):
            for row, length in zip(part.tolist(), lengths, strict=True):
                digest.update(array("q", [length, *row[:length]]).tobytes())
    return Produced([length for batch in batches for length in batch.lengths], outputs, digest.hexdigest())


def throughput_metrics(generated: Generated, counts: Produced) -> dict[str, Json]:
    """Rates over the whole window, all repetitions together."""
    seconds, work = generated.mark.seconds, counts.work
    return {
        "output_tokens_per_s": work["output_token"] / seconds,
        "total_tokens_per_s": work["total_token"] / seconds,
        "requests_per_s": work["request"] / seconds,
        "batches": len(generated.tokens),
        "seconds": seconds,
        "repeats": generated.mark.repeats,
    }


def token_metrics(counts: Produced) -> dict[str, Json]:
    """Token counts of the first repetition."""
    outputs = [output for _, output in counts.first]
    return {
        "requests": len(counts.prompts),
        "prompt": sum(counts.prompts),
        "output": sum(outputs),
        **_spread("prompt", counts.prompts),
        **_spread("output", outputs),
        "output_sha256": counts.sha256,
    }


def latency_metrics(timed: Timed, text: TextModel) -> dict[str, Json]:
    """Quantiles over requests, as a client of each would have seen them.

    Time to first token: from the call to the batch's first token. Inter-token latency: each gap between two tokens of
    a request, so that a step counts once for every request that still grew in it. Request: from the call to its last
    token, the end token included; a request that ended early does not wait for its batch here.
    """
    firsts: list[float] = []
    gaps: list[float] = []
    requests: list[float] = []
    for start, stamps, tokens in zip(timed.starts_ns, timed.stamps_ns, timed.tokens, strict=True):
        steps = [(after - before) / 1e9 for before, after in itertools.pairwise(stamps)]
        for length in text.output_lengths(tokens):
            firsts.append((stamps[0] - start) / 1e9)
            gaps.extend(steps[: length - 1])
            requests.append((stamps[length - 1] - start) / 1e9)
    return {
        "time_to_first_token_s": quantiles(firsts),
        "inter_token_latency_s": quantiles(gaps),
        "request_s": quantiles(requests),
        "seconds": timed.mark.seconds,
        "repeats": timed.mark.repeats,
    }


def prefill_metrics(mark: Mark, batches: list[Batch]) -> dict[str, Json]:
    """Rate of prompt tokens (padding not counted) and the time of one repetition over all batches."""
    tokens = sum(sum(batch.lengths) for batch in batches)
    return {
        "tokens_per_s": tokens * mark.repeats / mark.seconds,
        "seconds_per_repeat": mark.seconds / mark.repeats,
        "tokens_per_repeat": tokens,
        "seconds": mark.seconds,
        "repeats": mark.repeats,
    }


def decode_metrics(decoded: Decoded | str, batch: Batch) -> dict[str, Json]:
    """Rate and time of single-token steps over the first batch; `reason` where they could not be taken."""
    if isinstance(decoded, str):
        return {"tokens_per_s": None, "reason": decoded}
    mark, tokens = decoded.mark, decoded.steps * len(batch.lengths)
    return {
        "tokens_per_s": tokens * mark.repeats / mark.seconds,
        "step_s": mark.seconds / mark.repeats / decoded.steps,
        "tokens_per_repeat": tokens,
        "steps_per_repeat": decoded.steps,
        "seconds": mark.seconds,
        "repeats": mark.repeats,
    }


def phase_work(prefill: Mark, decoded: Decoded | str, batches: list[Batch]) -> dict[str, dict[str, float]]:
    """Tokens of the two phases' windows, all repetitions: each phase's joules are divided by its own tokens."""
    prompt = sum(sum(batch.lengths) for batch in batches)
    works = {prefill.name: {"input_token": float(prompt * prefill.repeats)}}
    if not isinstance(decoded, str):
        tokens = decoded.steps * len(batches[0].lengths) * decoded.mark.repeats
        works[decoded.mark.name] = {"output_token": float(tokens)}
    return works


def decode_by_difference(counts: Produced) -> tuple[Difference, ...]:
    """Generation less prefill, over the tokens after the first: the prompt's own pass gives that one."""
    tokens = sum(output - 1 for _, output in counts.first)
    if tokens < 1:
        return ()
    return (Difference("decode", "throughput", "prefill", "output_token", float(tokens)),)


def flops_metrics(model: Any, counts: Produced) -> dict[str, Json]:
    """Modelled operations of one repetition; null with a reason for what the formula does not describe."""
    said = {"formula": FORMULA, "source": SOURCE, "provenance": "modelled"}
    shape = decoder_shape(model)
    if isinstance(shape, str):
        return {"per_output_token": None, "reason": shape, **said}
    parts = generation_flops(shape, counts.first)
    return {
        "per_output_token": parts.total / sum(output for _, output in counts.first),
        "prefill": parts.prefill,
        "decode": parts.decode,
        "shape": asdict(shape),
        **said,
    }


def decoder_shape(model: Any) -> DecoderShape | str:
    """Return what the formula needs of a transformers model, or why it does not describe it."""
    config = model.config.get_text_config(decoder=True)
    layers, hidden = getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None)
    heads = getattr(config, "num_attention_heads", None)
    if not (isinstance(layers, int) and isinstance(hidden, int) and isinstance(heads, int)):
        return f"the configuration of {type(model).__name__} does not say layers, width and heads"
    if any(getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
        return "mixture of experts: a token takes part of the parameters only"
    head_dim = getattr(config, "head_dim", None) or hidden // heads
    return DecoderShape(parameter_count(model) - _looked_up(model), layers, heads * head_dim)


def parameter_count(model: Any) -> int:
    """Return how many numbers the model has; a tied matrix once."""
    return sum(weight.numel() for weight in model.parameters())


def _looked_up(model: Any) -> int:
    """Parameters of the input embedding, 0 where it is the output matrix too."""
    table, output = model.get_input_embeddings().weight, model.get_output_embeddings()
    return 0 if output is not None and output.weight is table else int(table.numel())


def quantiles(values: Sequence[float]) -> dict[str, Json]:
    """Return p50, p90, p99 (linear between neighbours), mean and count; null for none."""
    ordered = sorted(values)
    named: dict[str, Json] = {f"p{percent}": _quantile(ordered, percent / 100) for percent in (50, 90, 99)}
    return {**named, "mean": statistics.fmean(ordered) if ordered else None, "n": len(ordered)}


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _spread(name: str, lengths: Sequence[int]) -> dict[str, Json]:
    return {f"{name}_min": min(lengths), f"{name}_mean": statistics.fmean(lengths), f"{name}_max": max(lengths)}
