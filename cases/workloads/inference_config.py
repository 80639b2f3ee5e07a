"""What defines an inference experiment: the fields, their bounds, the rules between them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from pydantic import Field, field_validator, model_validator

from joulegrid.cases.contract import ExperimentConfig, Ignored, LaneView, Rule, Section

BACKENDS: dict[str, tuple[str, ...]] = {"pytorch": ("torch", "transformers")}
"""Known back ends and the modules that each needs."""

Pass = Literal["throughput", "latency", "phases"]


class Warmup(Section):
    """Run batches before anything is measured, until their times have settled."""

    max_batches: int = Field(default=8, ge=1)
    """Stop here whether or not the times have settled; the result says which."""
    min_batches: int = Field(default=2, ge=2)
    """Batches before the first comparison, and how many of the last times are compared."""
    cv: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """Settled when standard deviation / mean of the last `min_batches` times is at most this."""

    @model_validator(mode="after")
    def _low_before_high(self) -> Warmup:
        if self.min_batches > self.max_batches:
            raise ValueError(f"warmup: min_batches {self.min_batches} is more than max_batches {self.max_batches}")
        return self


class PytorchConfig(Section):
    """How `transformers` generates. The model's own generation_config.json is not used, but for its end tokens."""

    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """Number format of weights, activations and KV cache."""
    batch_size: int = Field(default=1, ge=1)
    """Prompts that are generated for together; the last batch is smaller where `n_prompts` is no multiple."""
    max_new_tokens: int = Field(default=32, ge=1)
    """Output tokens of a request; with `ignore_eos: false` the most it may have."""
    ignore_eos: bool = True
    """Generate `max_new_tokens` for each request, as if the model had no end token: equal work in every batch."""
    do_sample: bool = False
    """Draw the next token at random instead of taking the likeliest."""
    temperature: float = Field(default=1.0, ge=0, le=100, allow_inf_nan=False)
    """Divides the logits before drawing; only with `do_sample`."""
    top_k: int | None = Field(default=None, ge=1)
    """Draw among the k likeliest tokens only; `null` for all; only with `do_sample`."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Draw among the likeliest tokens that together have this probability; `null` for all; only with `do_sample`."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Set before each pass, so that its first repetition always draws the same; only with `do_sample`."""
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] | None = None
    """Attention kernel; `null` leaves it to transformers, and the result says what it took."""
    compile: bool = False
    """Compile the model's forward pass with `torch.compile`; compiling falls into load and warm-up."""
    n_prompts: int | None = Field(default=None, ge=1)
    """Prompts of one repetition, from the head of the set; `null` means `batch_size`: one full batch."""
    prompts: str | None = None
    """A `.jsonl` file with a `prompt` or `text` in each line, or a text file with a prompt a line, by path
    (absolute, or relative to the study); `null` takes the 256 bundled prompts."""
    warmup: int | Warmup = Field(default=Warmup())
    """Batches before the first window: a fixed number, or until their times have settled."""
    min_window_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Each window repeats its work for at least this long; `null` takes 10 where the lane's joules are read from a
    sensor and 1 where they are modelled. A measured window under 10 is flagged `short`."""
    passes: tuple[Pass, ...] = ("throughput", "latency", "phases")
    """What is measured, each in windows of its own: `throughput` (undisturbed generation), `latency` (the device is
    synchronised after each token), `phases` (prefill and single-token decoding apart)."""

    @field_validator("warmup")
    @classmethod
    def _not_negative(cls, warmup: int | Warmup) -> int | Warmup:
        if isinstance(warmup, int) and warmup < 0:
            raise ValueError(f"warmup: {warmup} given; a number of batches, 0 or more, is allowed")
        return warmup

    @field_validator("passes")
    @classmethod
    def _each_once(cls, passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
        if not passes or len(set(passes)) < len(passes):
            raise ValueError("passes: name at least one of throughput, latency, phases, each at most once")
        order: tuple[Pass, ...] = ("throughput", "latency", "phases")
        return tuple(name for name in order if name in passes)  # the order says nothing, so it never splits a key

    @property
    def prompts_used(self) -> int:
        """Prompts of one repetition."""
        return self.batch_size if self.n_prompts is None else self.n_prompts

    @property
    def least_window_s(self) -> float:
        """The least that a window lasts on any lane."""
        return 1.0 if self.min_window_seconds is None else self.min_window_seconds

    def window_s(self, lane: LaneView) -> float:
        """How long each window lasts at least on this lane."""
        return lane.usual_window_s if self.min_window_seconds is None else self.min_window_seconds

    @property
    def windows(self) -> tuple[str, ...]:
        """Names of the windows that the passes open, in order."""
        opened = {"throughput": ("throughput",), "latency": ("latency",), "phases": ("prefill", "decode")}
        return tuple(name for part in self.passes for name in opened[part])


class InferenceConfig(ExperimentConfig):
    """Generate text with a model and measure time and energy of it."""

    workload: Literal["inference"] = "inference"
    """The code that a task runs."""
    model: str = Field(min_length=1)
    """A folder, a packaged model (`tiny-lm`), or `owner/name` on the Hugging Face hub."""
    backend: Literal["pytorch"] = "pytorch"
    """The engine that runs the model."""
    pytorch: PytorchConfig = PytorchConfig()
    """Parameters of the back end `pytorch`."""

    @field_validator("backend", mode="before")
    @classmethod
    def _known(cls, backend: object) -> object:
        if not isinstance(backend, str) or backend not in BACKENDS:
            raise ValueError(f"backend: {backend!r} is not known; allowed: {_allowed()}")
        return backend


def _allowed() -> str:
    """The known back ends and whether their modules are here, without importing them."""
    states = {name: all(find_spec(module) for module in modules) for name, modules in BACKENDS.items()}
    return ", ".join(f"{name} ({'installed' if here else 'not installed'})" for name, here in states.items())


def _enough_prompts(n_prompts: int | None, batch_size: int) -> str | None:
    if n_prompts is not None and n_prompts < batch_size:
        return f"n_prompts {n_prompts} is less than batch_size {batch_size}: no batch would be full"
    return None


def _drawable(do_sample: bool, temperature: float) -> str | None:
    if do_sample and temperature <= 0:
        return f"temperature {temperature} cannot be drawn with; give more than 0, or do_sample: false"
    return None


def _flash_precision(attn_implementation: str | None, precision: str) -> str | None:
    if attn_implementation == "flash_attention_2" and precision == "fp32":
        return "flash_attention_2 has no fp32 kernel; take fp16 or bf16"
    return None


def _one_gpu(gpus: int | None) -> str | None:
    if gpus is not None and gpus > 1:
        return f"gpus {gpus}: backend pytorch puts the model on one GPU; the others would only add their idle power"
    return None


def _greedy(do_sample: bool) -> bool:
    return not do_sample


RULES = (
    Rule(("pytorch.n_prompts", "pytorch.batch_size"), _enough_prompts),
    Rule(("pytorch.do_sample", "pytorch.temperature"), _drawable),
    Rule(("pytorch.attn_implementation", "pytorch.precision"), _flash_precision),
    Rule(("resources.gpus",), _one_gpu),
)
IGNORED = (
    Ignored(
        fields=("pytorch.temperature", "pytorch.top_k", "pytorch.top_p", "pytorch.seed"),
        reads=("pytorch.do_sample",),
        when=_greedy,
    ),
)
