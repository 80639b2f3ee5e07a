"""Embeddings of unlike sizes: if every row were large, the norm's epsilon would never be felt."""

from collections.abc import Mapping

import torch


def provide_weights(state: Mapping[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return normal numbers; every other row of both tables is a thousandth of that."""
    drawn = {name: torch.randn(value.shape, generator=generator).to(value.dtype) for name, value in state.items()}
    for name in ("token.weight", "position.weight"):
        drawn[name][1::2] *= 1e-3
    drawn["norm.weight"] += 2
    return drawn
