"""A loaded model that generates: loading, padding, generating, counting. Nothing is timed here.

`Any` stands for torch's and transformers' objects, which are imported inside the functions.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from joulegrid.cases.contract import LaneCannotError, LaneView
from joulegrid.kernels.device import refusal, torch_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from joulegrid.cases.workloads.inference_config import PytorchConfig


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts of one call, padded on the left to the longest of them; tensors of shape (prompts, width)."""

    input_ids: Any
    attention_mask: Any
    lengths: tuple[int, ...]
    """Tokens of each prompt, padding not counted."""

    @property
    def width(self) -> int:
        """Columns: tokens of the longest prompt."""
        return int(self.input_ids.shape[1])

    @property
    def position_ids(self) -> Any:
        """Place of each token in its own prompt; padding stands at 0 and is masked."""
        return (self.attention_mask.cumsum(-1) - 1).clamp(min=0)


@dataclass(frozen=True, slots=True)
class TextModel:
    """A model on its device with its tokenizer, and the way it is asked to generate."""

    model: Any
    tokenizer: Any
    generation: Any
    device: str
    eos_ids: tuple[int, ...]
    """The model's end tokens, whether or not they are obeyed."""
    pad_id: int
    config: PytorchConfig
    last_logits: dict[str, int]
    """The argument that asks a forward pass for the last position's logits alone, where the model has it."""

    def batches(self, prompts: Sequence[str]) -> list[Batch]:
        """Tokenise all prompts and cut them into batches, in the given order."""
        size = self.config.batch_size
        batches = [self._batch(prompts[start : start + size]) for start in range(0, len(prompts), size)]
        positions = getattr(self.model.config.get_text_config(decoder=True), "max_position_embeddings", None)
        longest = max(batch.width for batch in batches) + self.config.max_new_tokens
        if positions is not None and longest > positions:
            raise LaneCannotError(f"prompt and output take {longest} tokens, the model has {positions} positions")
        return batches

    def _batch(self, prompts: Sequence[str]) -> Batch:
        rows = self.tokenizer(list(prompts), padding=True, return_tensors="pt")
        lengths = tuple(rows["attention_mask"].sum(dim=1).tolist())
        return Batch(rows["input_ids"].to(self.device), rows["attention_mask"].to(self.device), lengths)

    def seed(self) -> None:
        """Set torch's generators, on every device, to the experiment's seed."""
        import torch

        torch.manual_seed(self.config.seed)

    def generate(self, batch: Batch, *criteria: Any) -> Any:
        """Generate for a batch; return the new token ids on the device, shape (prompts, up to max_new_tokens)."""
        sequences = self.model.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            generation_config=self.generation,
            stopping_criteria=_transformers().StoppingCriteriaList(criteria),
        )
        return sequences[:, batch.width :]

    def output_lengths(self, tokens: Any) -> list[int]:
        """Count each request's output: up to and including its first end token, all of it where none is obeyed."""
        rows = tokens.tolist()
        return [len(row) for row in rows] if self.config.ignore_eos else [until_end(row, self.eos_ids) for row in rows]


def until_end(tokens: Sequence[int], eos_ids: Sequence[int]) -> int:
    """Return how many tokens there are up to and including the first end token; all where there is none."""
    return next((place for place, token in enumerate(tokens, 1) if token in eos_ids), len(tokens))


def refuse(config: PytorchConfig, lane: LaneView) -> None:
    """Raise `LaneCannotError` for what this lane cannot do, with the reason and a remedy."""
    import torch

    if lane.device == "cuda" and not torch.cuda.is_available():
        raise LaneCannotError(f"the lane has a GPU but torch {torch.__version__} sees none; install a CUDA build")
    if config.attn_implementation == "flash_attention_2":
        if lane.device != "cuda":
            raise LaneCannotError("flash_attention_2 needs a CUDA lane; take sdpa or eager here")
        if find_spec("flash_attn") is None:
            raise LaneCannotError("flash_attention_2 needs the package flash-attn, which is not installed; take sdpa")
    reason = refusal(config.precision, lane.device)
    if reason is not None:
        raise LaneCannotError(reason)


def load(config: PytorchConfig, location: str, device: str) -> TextModel:
    """Load model and tokenizer from a folder or `hub:NAME@COMMIT` and put the model on the device."""
    name, revision = _place(location)
    tokenizer = _transformers().AutoTokenizer.from_pretrained(name, revision=revision, padding_side="left")
    model = _transformers().AutoModelForCausalLM.from_pretrained(
        name,
        revision=revision,
        dtype=torch_dtype(config.precision),
        attn_implementation=config.attn_implementation,
    )
    model.to(device).eval()
    eos_ids = _eos_ids(model, tokenizer)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(eos_ids[0] if eos_ids else 0)
    pad_id = int(tokenizer.pad_token_id)
    generation = generation_config(config, eos_ids, pad_id)
    model.generation_config = generation  # `generate` fills what is None from here: the model's own must not come back
    if config.compile:
        model.compile(dynamic=True)
    known = inspect.signature(type(model).forward).parameters
    last_logits = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
    return TextModel(model, tokenizer, generation, device, eos_ids, pad_id, config, last_logits)


def generation_config(config: PytorchConfig, eos_ids: tuple[int, ...], pad_id: int) -> Any:
    """Return transformers' configuration with nothing left to defaults that differ between models."""
    drawing = {
        "temperature": config.temperature,
        "top_k": config.top_k or 0,  # 0 is off; None would become 50
        "top_p": 1.0 if config.top_p is None else config.top_p,
    }
    return _transformers().GenerationConfig(
        max_new_tokens=config.max_new_tokens,
        do_sample=config.do_sample,
        eos_token_id=None if config.ignore_eos else list(eos_ids) or None,
        pad_token_id=pad_id,
        use_cache=True,
        **(drawing if config.do_sample else {}),
    )


def _place(location: str) -> tuple[str, str | None]:
    """A folder, or a hub name with its commit."""
    if not location.startswith("hub:"):
        return location, None
    name, _, commit = location.removeprefix("hub:").rpartition("@")
    return name, commit


def _eos_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """End tokens as the model's generation_config has them, one or several, else the tokenizer's."""
    known = model.generation_config.eos_token_id
    if known is None:
        known = tokenizer.eos_token_id
    if known is None:
        return ()
    return tuple(known) if isinstance(known, list | tuple) else (int(known),)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and advice out of the task's log; errors stay."""
    logging = _transformers().utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _transformers() -> Any:
    """Transformers as `Any`: it is annotated in part, which a strict check takes for untyped calls."""
    return import_module("transformers")
