"""Time per call from series of N and of 2N calls. Arithmetic only; the series are run elsewhere.

A series of n calls takes `channel + n · call`: the message that starts it, the first wake-up and the answer cost the
same whatever n is. A slope (T(2N) − T(N)) / N is free of it, but hands the candidate a lever: time wasted in the short
series alone lowers its slope. So the channel's cost is taken from the trusted members only, and a call's time is what
is left of the series of both lengths, whoever ran them. What else happens on a machine adds time and never takes any
off, so that only the faster half of a process's series speaks for it:

    channel = median over trusted processes of 2·fast(T(N)) − fast(T(2N)), between 0 and a tenth of any fast(T(2N))
    call    = fast({(T(N) − channel) / N, (T(2N) − channel) / 2N})          fast: the mean of the faster half
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LARGEST_CHANNEL = 0.1
"""Share of a long series that may be the channel's."""


@dataclass(frozen=True, slots=True)
class Durations:
    """What the series of one member took, in nanoseconds: arrays of (processes, pairs)."""

    short: Any
    """Series of N calls."""
    long: Any
    """Series of 2N calls on the same pair's inputs."""
    calls: int
    """N."""


def channel_ns(trusted: Sequence[Durations], others: Sequence[Durations] = ()) -> float:
    """Return what a series costs beside its calls, over all processes of the trusted members.

    At most a tenth of the shortest member's long series, `others` included: more is noise, which must not make a call
    vanish. Calls are then said to take longer than they do, those of all members alike.
    """
    import numpy as np

    surplus = np.concatenate([2 * fast(one.short) - fast(one.long) for one in trusted])
    shortest = min(float(np.median(fast(one.long))) for one in (*trusted, *others))
    return float(np.clip(np.median(surplus), 0.0, LARGEST_CHANNEL * shortest))


def call_ns(member: Durations, channel: float) -> Any:
    """Return the time per call for each process: (processes,)."""
    import numpy as np

    short, long = (member.short - channel) / member.calls, (member.long - channel) / (2 * member.calls)
    return np.maximum(fast(np.concatenate([short, long], axis=-1)), 1.0 / member.calls)


def slope_ns(member: Durations) -> Any:
    """Return the plain slope for each process: what `call_ns` is compared with, and never the claim."""
    return (fast(member.long) - fast(member.short)) / member.calls


def fast(values: Any) -> Any:
    """Return the mean of the faster half along the last axis, one value at least."""
    import numpy as np

    return np.sort(values, axis=-1)[..., : max(1, values.shape[-1] // 2)].mean(axis=-1)
