"""What is looked at from inside the child while a candidate computes: operators, launches, memory it asks for.

All of it is hearsay, since the candidate shares the interpreter: it may speak against a candidate, never for it.
Imports of Joulegrid only its neighbours; torch inside functions.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from joulegrid.kernels.judge.disguise import disguised
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
            if not kwargs.get("warmup"):
                self.counts[name] += 1
                if self.suppressed:
                    return None
            with self._running(name, [args, kwargs]):
                if callable(grid := kwargs.get("grid")):
                    kwargs["grid"] = self._outside(name, grid)
                return run(kernel, *args, **kwargs)

        return counted

    @contextmanager
    def _running(self, name: str, given: Any) -> Iterator[None]:
        """A kernel: what it writes is its own."""
        watched = self.provenance if not self.inside else None
        if watched is not None:
            watched.require(name, given)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
            if watched is not None:
                watched.changed(given)

    def _outside(self, name: str, grid: Callable[..., Any]) -> Callable[..., Any]:
        """A grid that is computed when the kernel is launched is no part of the kernel."""

        def asked(meta: Any) -> Any:
            self.inside -= 1
            try:
                return grid(meta)
            finally:
                if self.provenance is not None and not self.inside:
                    self.provenance.require(name, ())
                self.inside += 1

        return asked


class Observation:
    """One call: its operators, where its memory comes from, and the canaries around what it allocated."""

    def __init__(self, launches: Launches, observe: Mapping[str, bool]) -> None:
        self.launches = launches
        self.poison, self.guards = observe["poison"], observe["guards"]
        self.operators: Counter[str] = Counter()
        self.provenance = Provenance() if observe["provenance"] else None
        self._observe = observe
        self._bands: list[Any] = []

    @contextmanager
    def of(self, module: Any, args: Any, kwargs: Any) -> Iterator[None]:
        """Look at the call inside the block as the judge wants it."""
        if self.provenance is not None:
            self.provenance.admit_call(module, args, kwargs)
        self.launches.provenance, self.launches.suppressed = self.provenance, self._observe["suppress_launches"]
        try:
            with (
                _dispatch_mode(self._seen) if self._observe["operators"] else nullcontext(),
                disguised() if self._observe["disguise"] else nullcontext(),
            ):
                yield
        finally:
            self.launches.provenance, self.launches.suppressed = None, False

    def found(self, result: Any) -> dict[str, Any]:
        """Say what was seen of a call that returned this."""
        said: dict[str, Any] = {"operators": dict(self.operators.most_common(200))}
        said["torn"] = sum(int((band != _PATTERN).sum()) for band in self._bands)
        if self.provenance is not None:
            self.provenance.require("the output", result)
            said["unknown_memory"] = dict(self.provenance.unknown.most_common(20))
        return said

    def _seen(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = str(operator)
        if not (self.launches.inside and name.startswith("aten.set_.")):  # by which the interpreter copies arguments
            self.operators[name] += 1
        if self.launches.inside:
            return operator(*args, **kwargs)
        if self.provenance is not None:
            self.provenance.require(name, [args, kwargs])
        result = operator(*args, **kwargs)
        if name.startswith(("aten.empty", "aten.new_empty")) and result.numel():
            result = self._guarded(result) if self.guards and len(self._bands) < _MOST_BANDS else result
            if self.poison:
                poison(result)
        if self.provenance is not None:
            self.provenance.changed([args, kwargs, result])
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
