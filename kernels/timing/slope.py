"""Time per call from series of N and of 2N calls. Arithmetic only; the series are run elsewhere.

A series of n calls takes `channel + n · call`: the message that starts it, the first wake-up and the answer cost the
same whatever n is. A slope (T(2N) − T(N)) / N is free of it, but hands the candidate a lever: time wasted in the short
series alone lowers its slope. So the channel's cost is taken from the trusted members only, and a call's time is what
is left of the long series, whoever ran it:

    channel = median(2·T(N) − T(2N)) over the trusted members, at least 0
    call    = (median T(2N) − channel) / 2N
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SHORTEST_NS = 1.0
"""A call that took nothing is said to have taken this: ratios stay finite, and physics refuses it."""


@dataclass(frozen=True, slots=True)
class Durations:
    """What the series of one member took, in nanoseconds: arrays of (processes, pairs)."""

    short: Any
    """Series of N calls."""
    long: Any
    """Series of 2N calls on the same pair's inputs."""
    calls: int
    """N."""

    def drawn(self, processes: Any) -> Durations:
        """Return the durations of these processes, given as an array of indices: (…, processes, pairs)."""
        return Durations(self.short[processes], self.long[processes], self.calls)


def channel_ns(trusted: Sequence[Durations]) -> Any:
    """Return what a series costs beside its calls, over all processes and pairs of the trusted members."""
    import numpy as np

    surplus = np.concatenate([_flat(2 * one.short - one.long) for one in trusted], axis=-1)
    return np.maximum(np.median(surplus, axis=-1), 0.0)


def call_ns(member: Durations, channel: Any) -> Any:
    """Return the time per call for each process: (…, processes)."""
    import numpy as np

    calls = (np.median(member.long, axis=-1) - np.asarray(channel)[..., None]) / (2 * member.calls)
    return np.maximum(calls, SHORTEST_NS)


def slope_ns(member: Durations) -> Any:
    """Return the plain slope for each process: what `call_ns` is compared with, and never the claim."""
    import numpy as np

    return (np.median(member.long, axis=-1) - np.median(member.short, axis=-1)) / member.calls


def _flat(values: Any) -> Any:
    return values.reshape(*values.shape[:-2], -1)
