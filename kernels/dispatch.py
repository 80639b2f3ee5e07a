"""Stand between a block and torch's operators: a dispatch mode that is a function, and that needs no compiler.

torch keeps `torch.compile` out of a mode's functions, and imports all of it to do so: 1.5 to 1.9 s of processor
time in every process that looks at one operator. Nothing is compiled under these modes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Handler = Callable[[Any, tuple[Any, ...], Mapping[str, Any]], Any]
"""Given an operator and its arguments, returns the result."""


def dispatched(handler: Handler) -> Any:
    """Return a context in which a function answers for every operator; operators that it calls are not handed to it."""
    return _mode()(handler)


@lru_cache(maxsize=1)
def _mode() -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Dispatched(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __init__(self, handler: Handler) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self._handler = handler

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return self._handler(func, args, kwargs or {})

    return Dispatched
