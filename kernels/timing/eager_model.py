"""The byte model of eager execution: what its operators read and write, and how long that should take.

A reference that takes over five times as long is pathological (one block per row of a LayerNorm, operators that
compute far more than the module needs): a ratio to it says little of a candidate, and that stands beside the ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from joulegrid.kernels.dispatch import dispatched
from joulegrid.kernels.module import call, flat_tensors
from joulegrid.kernels.problem import Arguments
from joulegrid.kernels.timing.roofs import Roofs

PATHOLOGICAL = 5.0
DISPATCH_S = 5e-6
"""Allowed for each operator: what eager needs to choose and launch it, rounded up."""


@dataclass(frozen=True, slots=True)
class EagerModel:
    """What eager's operators touch in one call."""

    bytes_touched: int
    """Inputs and outputs of every operator that is no view, by the sizes of their tensors."""
    operators: int
    flops: int
    """Of the whole module, by the case's formula."""

    def seconds(self, roofs: Roofs, dtype: str) -> float:
        """Return how long the operators should take one after another."""
        return self.bytes_touched / roofs.bytes_per_s + self.flops / roofs.peak(dtype) + self.operators * DISPATCH_S

    def pathological(self, call_s: float, roofs: Roofs, dtype: str) -> bool:
        """Tell whether eager takes over five times as long as its own model."""
        return call_s > PATHOLOGICAL * self.seconds(roofs, dtype)


def eager_model(module: Any, arguments: Arguments, flops: int) -> EagerModel:
    """Run the module once and count what its operators touch."""
    touched = operators = 0

    def counted(func: Any, args: Any, kwargs: Any) -> Any:
        nonlocal touched, operators
        result = func(*args, **kwargs)
        if not func.is_view:
            tensors = flat_tensors([list(args), kwargs, result])
            touched += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            operators += 1
        return result

    with dispatched(counted):
        call(module, arguments)
    return EagerModel(touched, operators, flops)
