"""Floating-point operations of a dense decoder, by formula. A model of the work, never a measurement of it.

One token at context `c` costs in the forward pass

    2·N + 4·L·H·c

with N the parameters that take part in a matrix product, L layers and H the attention's width (heads × head size):
2·N is a multiplication and an addition for every parameter (Kaplan et al. 2020, "Scaling Laws for Neural Language
Models", section 2.1); the attention's scores and their sum over values are a third of the 12·L·H·Q·T that
Chowdhery et al. 2022 ("PaLM", appendix B) count for forward and backward together. Not counted: softmax, norms,
rotary embeddings, activations, sampling, and whatever is spent on padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMULA = "2*parameters + 4*layers*attention_width*context, per token"
SOURCE = "Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022 (PaLM), appendix B, forward third"


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """What the formula needs to know of a dense decoder."""

    parameters: int
    """Parameters in matrix products: all but an input embedding that is only looked up."""
    layers: int
    attention_width: int
    """Heads × head size."""


@dataclass(frozen=True, slots=True)
class RequestFlops:
    """Operations of one or many requests."""

    prefill: int
    decode: int

    @property
    def total(self) -> int:
        """Both parts together."""
        return self.prefill + self.decode


def span_flops(shape: DecoderShape, start: int, count: int) -> int:
    """Return the operations of `count` tokens that follow on `start` earlier ones; each sees all before and itself."""
    contexts = count * start + count * (count + 1) // 2
    return 2 * shape.parameters * count + 4 * shape.layers * shape.attention_width * contexts


def generation_flops(shape: DecoderShape, lengths: Iterable[tuple[int, int]]) -> RequestFlops:
    """Return the operations for requests given as (prompt tokens, output tokens).

    The prompt's pass yields the first output token, so that n outputs take n − 1 further passes.
    """
    prefill = decode = 0
    for prompt, output in lengths:
        prefill += span_flops(shape, 0, prompt)
        decode += span_flops(shape, prompt, max(output - 1, 0))
    return RequestFlops(prefill, decode)
