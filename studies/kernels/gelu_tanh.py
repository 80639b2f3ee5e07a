"""The tanh approximation of GELU by torch's own operator: one pass over memory instead of eight."""

import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    """No weights, as the case's module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it to every number."""
        return torch.nn.functional.gelu(x, approximate="tanh")
