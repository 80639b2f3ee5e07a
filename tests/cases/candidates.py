"""Candidates for the case `rmsnorm` that tests write into files: a right one, a wrong one, one that is none."""

from __future__ import annotations

from pathlib import Path

RIGHT = """
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return torch.nn.functional.rms_norm(x, x.shape[-1:], self.weight, self.eps)
"""
WRONG = RIGHT.replace("self.weight, self.eps)", "None, self.eps)")


def right(folder: Path) -> Path:
    """A fused RMSNorm."""
    return _written(folder / "right.py", RIGHT)


def wrong(folder: Path) -> Path:
    """The same without its gain."""
    return _written(folder / "wrong.py", WRONG)


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
