"""Joules per call, by repetition to a window long enough for a sampler. The joules themselves are not read here.

A window holds series on fresh inputs, as they were timed; filling these in costs energy, too, so that a second window
fills them in without calling. Joules per call are those of a repetition of the first less those of the second, over 2N
calls. A call that took another time inside the window than when it was timed makes them worthless, and that is said.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

AGREEMENT = 0.1
"""Share by which a call's time inside its window may differ from its timed one."""


class EnergyProbe(Protocol):
    """What a workload's probe offers: a window that repeats its body until it is long enough."""

    def window(self, name: str, *, min_seconds: float) -> AbstractContextManager[RepeatingWindow]:
        """Open a window; iterating over it yields until `min_seconds` have passed, once at least."""
        ...


class RepeatingWindow(Protocol):
    """An open window."""

    def __iter__(self) -> Iterator[int]:
        """Yield 0, 1, 2, … until the window is long enough."""
        ...
