"""What is done inside the windows: warm-up, undisturbed generation, timed tokens, prefill and decoding apart.

Only stamps and tensors are kept while a window is open; counting comes after it.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

from joulegrid.cases.workloads.inference_config import Warmup
from joulegrid.kernels.device import synchronize

if TYPE_CHECKING:
    from joulegrid.cases.contract import Mark, Probe
    from joulegrid.cases.workloads.generation import Batch, TextModel


@dataclass(frozen=True, slots=True)
class Warm:
    """How the warm-up went."""

    batches: int
    seconds: float
    cv: float | None
    """Coefficient of variation of the last batch times; `None` for fewer than two batches."""
    converged: bool | None
    """Whether the times settled; `None` where a fixed number was asked for."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Undisturbed generation: the window and what came out of it, in order of production."""

    mark: Mark
    tokens: list[Any]
    """Of each call the new token ids, on the device."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Generation with a stamp after each token."""

    mark: Mark
    starts_ns: list[int]
    stamps_ns: list[list[int]]
    """Of each call the time at which each of its tokens was there."""
    tokens: list[Any]


@dataclass(frozen=True, slots=True)
class Decoded:
    """Single-token steps after a filled cache."""

    mark: Mark
    steps: int
    """Steps of one repetition."""


def warm_up(text: TextModel, batches: list[Batch]) -> Warm:
    """Generate for the batches in turn, a fixed number of times or until their times have settled."""
    plan = text.config.warmup
    limit, window = (plan.max_batches, plan.min_batches) if isinstance(plan, Warmup) else (plan, 2)
    last: deque[float] = deque(maxlen=window)
    started, done, converged = time.monotonic(), 0, False
    for batch in cycle(batches):
        if done >= limit or converged:
            break
        last.append(_batch_seconds(text, batch))
        done += 1
        converged = isinstance(plan, Warmup) and len(last) == window and _cv(last) <= plan.cv
    spread = _cv(last) if len(last) > 1 else None
    return Warm(done, time.monotonic() - started, spread, converged if isinstance(plan, Warmup) else None)


def throughput(text: TextModel, batches: list[Batch], probe: Probe) -> Generated:
    """Generate for all batches, again and again, with nothing in between."""
    tokens: list[Any] = []
    text.seed()
    with probe.window("throughput", min_seconds=text.config.window_s(probe.lane)) as window:
        for _ in window:
            tokens.extend(text.generate(batch) for batch in batches)
            synchronize(text.device)  # else the host would queue repetitions that the window's clock never saw
    return Generated(window.mark, tokens)


def latency(text: TextModel, batches: list[Batch], probe: Probe) -> Timed:
    """Generate with the device synchronised and the time stamped after each token."""
    starts: list[int] = []
    stamps: list[list[int]] = []
    tokens: list[Any] = []
    text.seed()
    with probe.window("latency", min_seconds=text.config.window_s(probe.lane)) as window:
        for _ in window:
            for batch in batches:
                clock = _TokenClock(text.device, batch)
                synchronize(text.device)
                starts.append(time.monotonic_ns())
                tokens.append(text.generate(batch, clock))
                stamps.append(clock.stamps_ns)
    return Timed(window.mark, starts, stamps, tokens)


def prefill(text: TextModel, batches: list[Batch], probe: Probe) -> Mark:
    """Run the forward pass over the prompts with an empty cache, the last position's logits only, as in `generate`."""
    for batch in batches:
        _forward_prompt(text, batch)  # these shapes and arguments, once outside the window
    synchronize(text.device)
    with probe.window("prefill", min_seconds=text.config.window_s(probe.lane)) as window:
        for _ in window:
            for batch in batches:
                _forward_prompt(text, batch)
            synchronize(text.device)
    return window.mark


def decode(text: TextModel, batch: Batch, probe: Probe) -> Decoded | str:
    """Take single-token steps from a cache that holds the prompt; say why where this model cannot.

    Each repetition begins by cutting the cache back to the prompt (a view, no copy). The next token is the
    likeliest one: drawing belongs to generation, this measures the forward pass.
    """
    steps = text.config.max_new_tokens - 1
    if steps < 1:
        return "max_new_tokens 1: the prompt's pass gives the only token"
    stepper = Stepper(text, batch, steps)
    if not stepper.can_rewind:
        return f"the cache of {type(text.model).__name__} cannot be cut back to the prompt"
    stepper.run()
    synchronize(text.device)
    with probe.window("decode", min_seconds=text.config.window_s(probe.lane)) as window:
        for _ in window:
            stepper.run()
            synchronize(text.device)
    return Decoded(window.mark, steps)


class _TokenClock:
    """A stopping criterion that never stops: it is asked once after each token, and notes when that was."""

    def __init__(self, device: str, batch: Batch) -> None:
        import torch

        self.stamps_ns: list[int] = []
        self._device = device
        self._go_on = torch.zeros(len(batch.lengths), dtype=torch.bool, device=device)

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        synchronize(self._device)
        self.stamps_ns.append(time.monotonic_ns())
        return self._go_on


class Stepper:
    """Greedy single-token steps over one batch, repeatable from the same filled cache."""

    def __init__(self, text: TextModel, batch: Batch, steps: int) -> None:
        import torch

        self._model, self._steps, self._width = text.model, steps, batch.width
        filled = _forward_prompt(text, batch)
        self._cache = filled.past_key_values
        self._first = filled.logits[:, -1:].argmax(-1)
        new = torch.ones(len(batch.lengths), steps, dtype=batch.attention_mask.dtype, device=text.device)
        self._mask = torch.cat([batch.attention_mask, new], dim=1)
        self._next_position = batch.attention_mask.sum(dim=1, keepdim=True)

    @property
    def can_rewind(self) -> bool:
        """Whether the cache can be cut back; one with a window or a state may not."""
        return bool(getattr(self._cache, "is_croppable", hasattr(self._cache, "crop")))

    def run(self) -> list[Any]:
        """Take all steps; return the prompt's and each step's token, of shape (prompts, 1), on the device."""
        import torch

        beyond = self._cache.get_seq_length() - self._width
        if beyond > 0:
            self._cache.crop(-beyond)
        token = self._first
        tokens = [token]
        with torch.no_grad():
            for step in range(self._steps):
                output = self._model(
                    input_ids=token,
                    attention_mask=self._mask[:, : self._width + step + 1],
                    position_ids=self._next_position + step,
                    past_key_values=self._cache,
                    use_cache=True,
                )
                token = output.logits[:, -1:].argmax(-1)
                tokens.append(token)
        return tokens


def _forward_prompt(text: TextModel, batch: Batch) -> Any:
    import torch

    with torch.no_grad():
        return text.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=True,
            **text.last_logits,
        )


def _batch_seconds(text: TextModel, batch: Batch) -> float:
    started = time.monotonic()
    text.generate(batch)
    synchronize(text.device)
    return time.monotonic() - started


def _cv(values: deque[float]) -> float:
    """Coefficient of variation: sample standard deviation over mean."""
    return statistics.stdev(values) / statistics.fmean(values)
