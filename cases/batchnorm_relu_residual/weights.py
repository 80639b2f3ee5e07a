"""Variances of unlike sizes: if every channel varied by about one, the norm's epsilon would never be felt in bf16."""

from collections.abc import Mapping

import torch


def provide_weights(state: Mapping[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return normal means and biases, gains around one, and variances of which every other is about a hundredth."""
    drawn = {}
    for name, value in state.items():
        if not value.is_floating_point():
            drawn[name] = value
            continue
        numbers = torch.randn(value.shape, generator=generator)
        if name == "norm.running_var":
            numbers = 0.5 + numbers.abs()
            numbers[::2] *= 0.01
        elif name == "norm.weight":
            numbers = 1 + 0.3 * numbers
        drawn[name] = numbers.to(value.dtype)
    return drawn
