"""Orders of summation: the same sums with their terms permuted, in chunks of any number, added one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_CHUNKS = 64
"""So many partial sums are added one by one; up to 64 terms are then summed strictly in turn."""


@dataclass(frozen=True, slots=True)
class Orders:
    """A source of random orders. Sums are made in the dtype that is handed over: widen 16 bits before."""

    generator: Any
    """On the CPU; `None` sums strictly in turn."""
    accumulator: Any = None
    """Dtype that partial sums are rounded to after each addition; by default they stay as they are."""

    def total(self, x: Any, dims: Sequence[int], keepdim: bool) -> Any:
        """Return the sum over some dimensions."""
        dims = sorted(dim % x.dim() for dim in dims) if x.dim() else []
        if not dims:
            return x.clone()
        kept = [dim for dim in range(x.dim()) if dim not in dims]
        flat = x.permute(*kept, *dims).reshape(*(x.shape[dim] for dim in kept), -1)
        result = self._added([flat[..., piece].sum(-1) for piece in self._pieces(flat.shape[-1], x.device)])
        for dim in dims if keepdim else []:
            result = result.unsqueeze(dim)
        return result

    def product(self, left: Any, right: Any) -> Any:
        """Return the matrix product of […, m, k] and […, k, n]."""
        pieces = self._pieces(left.shape[-1], left.device)
        return self._added([left[..., piece] @ right[..., piece, :] for piece in pieces])

    def running(self, x: Any, dim: int) -> Any:
        """Return the sums of all terms up to each, made block by block."""
        import torch

        if not x.dim() or not x.shape[dim]:
            return x.clone()
        done: list[Any] = []
        for block in x.tensor_split(self._count(x.shape[dim]), dim):
            sums = block.cumsum(dim)
            done.append(self._added([done[-1].narrow(dim, done[-1].shape[dim] - 1, 1), sums]) if done else sums)
        return torch.cat(done, dim)

    def _pieces(self, terms: int, device: Any) -> Sequence[Any]:
        import torch

        if self.generator is None:
            return torch.arange(terms, device=device).tensor_split(max(terms, 1))
        order = torch.randperm(terms, generator=self.generator)
        return order.to(device).tensor_split(self._count(terms))

    def _count(self, terms: int) -> int:
        """A power of two, each as likely: from one piece to single terms or `MOST_CHUNKS`."""
        import torch

        if self.generator is None:
            return terms
        powers = min(max(terms, 1), MOST_CHUNKS).bit_length()
        return 1 << int(torch.randint(powers, (), generator=self.generator))

    def _added(self, parts: list[Any]) -> Any:
        result = parts[0]
        for part in parts[1:]:
            result = result + part
            if self.accumulator is not None:
                result = result.to(self.accumulator).to(part.dtype)
        return result
