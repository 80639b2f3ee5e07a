"""The temperature gate: a lane waits, before a task starts, until its GPUs are cool enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from joulegrid.cluster.gpu_use import hottest, look

LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Gate:
    """How cool, and how long a lane waits for it."""

    max_celsius: float
    max_wait_s: float


@dataclass(frozen=True, slots=True)
class Start:
    """How a task found its GPUs."""

    celsius: float | None = None
    """The warmest of them."""
    wait_s: float | None = None
    """How long the lane waited; `None` without a gate."""
    expired: bool | None = None
    """Whether they were still too warm when the patience ended."""


def wait_until_cool(
    uuids: tuple[str, ...], gate: Gate | None, say: Callable[[str], object], cancelled: Callable[[], bool]
) -> Start:
    """Wait until no GPU is warmer than the gate allows, or its patience ends; `say` is told now and then.

    A temperature that NVML does not give opens the gate: nobody can wait for it.
    """
    began_s, celsius = time.monotonic(), hottest(look(uuids))
    if gate is None or not uuids:
        return Start(celsius)
    while celsius is not None and celsius > gate.max_celsius and not cancelled():
        left_s = began_s + gate.max_wait_s - time.monotonic()
        if left_s <= 0:
            break
        say(f"waiting for {gate.max_celsius:g} °C (now {celsius:g} °C)")
        time.sleep(min(LOOK_S, left_s))
        celsius = hottest(look(uuids))
    too_warm = celsius is not None and celsius > gate.max_celsius
    return Start(celsius, time.monotonic() - began_s, too_warm)
