"""RMSNorm by torch's own operator, in place of the six of the reference."""

import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    """The same arguments and weights as the case's module."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise rows."""
        return torch.nn.functional.rms_norm(x, x.shape[-1:], self.weight, self.eps)
