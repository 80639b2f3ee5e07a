"""What is looked at from inside the child while a candidate computes: operators, launches, memory it asks for.

All of it is hearsay, since the candidate shares the interpreter: it may speak against a candidate, never for it.
Imports of Joulegrid only its neighbour; torch inside functions.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from joulegrid.kernels.judge.provenance import Provenance

BAND = 64
"""Canary elements on each side of memory that a candidate allocates."""
_PATTERN = 0xA5
_MOST_BANDS = 4096


class Launches:
    """Counts the Triton kernels that run, by name; can leave them out, to see whether anybody notices."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.inside = 0
        self.suppressed = False
        self.provenance: Provenance | None = None
        """Of the call that is being observed, if one is."""

    def install(self) -> None:
        """Wrap Triton's two ways to run a kernel, compiled and interpreted. Without Triton there is none."""
        runtime = sys.modules.get("triton.runtime.jit")
        interpreter = sys.modules.get("triton.runtime.interpreter")
        for kind in (getattr(runtime, "JITFunction", None), getattr(interpreter, "InterpretedFunction", None)):
            if kind is not None:
                kind.run = self._wrapped(kind.run)

    def _wrapped(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def counted(kernel: Any, *args: Any, **kwargs: Any) -> Any:
            name = getattr(getattr(kernel, "fn", None), "__name__", "?")
            if self.provenance is not None and not self.inside:
                self.provenance.require(name, [args, kwargs])
            if not kwargs.get("warmup"):
                self.counts[name] += 1
                if self.suppressed:
                    return None
            self.inside += 1
            try:
                return run(kernel, *args, **kwargs)
            finally:
                self.inside -= 1

        return counted


class Observation:
    """The operators of one call, and the canaries around what it allocated."""

    def __init__(self, launches: Launches, *, poison: bool, guards: bool) -> None:
        self.launches = launches
        self.poison, self.guards = poison, guards
        self.operators: Counter[str] = Counter()
        self.provenance = Provenance()
        self._bands: list[Any] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at all operators inside the block."""
        self.launches.provenance = self.provenance
        try:
            with _dispatch_mode(self._seen):
                yield
        finally:
            self.launches.provenance = None

    def torn(self) -> int:
        """Return how many canaries were overwritten."""
        return sum(int((band != _PATTERN).sum()) for band in self._bands)

    def _seen(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = str(operator)
        if not (self.launches.inside and name.startswith("aten.set_.")):  # by which the interpreter copies arguments
            self.operators[name] += 1
        if self.launches.inside:
            return operator(*args, **kwargs)
        self.provenance.require(name, [args, kwargs])
        result = operator(*args, **kwargs)
        if name.startswith(("aten.empty", "aten.new_empty")) and result.numel():
            result = self._guarded(result) if self.guards and len(self._bands) < _MOST_BANDS else result
            if self.poison:
                poison(result)
        self.provenance.admit(result)
        return result

    def _guarded(self, tensor: Any) -> Any:
        """Return a tensor of the same layout with canaries before and behind its memory."""
        import torch

        span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        band = BAND * tensor.element_size()
        whole = torch.full(
            (span * tensor.element_size() + 2 * band,), _PATTERN, dtype=torch.uint8, device=tensor.device
        )
        self._bands += [whole[:band], whole[-band:]]
        return whole.view(tensor.dtype).as_strided(tensor.shape, tensor.stride(), BAND)


def poison(tensor: Any) -> None:
    """Fill with NaN, or with numbers that no kernel would leave: what is not written shows."""
    import torch

    if tensor.is_floating_point() or tensor.is_complex():
        tensor.fill_(float("nan"))
    elif tensor.dtype == torch.bool:
        tensor.view(torch.uint8).fill_(1)
    else:
        tensor.fill_(torch.iinfo(tensor.dtype).max - 85)


def _dispatch_mode(seen: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return seen(func, args, kwargs or {})

    return Watch()  # type: ignore[no-untyped-call]
