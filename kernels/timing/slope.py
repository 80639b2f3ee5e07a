"""Time per call from short and long series. Arithmetic only; the series are run elsewhere.

A series of n calls takes `channel + n · call`: the message that starts it, the first wake-up and the answer cost the
same whatever n is. A slope between the two is free of it, but hands the candidate a lever: time wasted in the short
series alone lowers its slope. So the channel's cost is taken from the trusted members only, and a call's time is what
is left of the series of both lengths, whoever ran them. What else happens on a machine adds time and never takes any
off, so that only the faster half of a process's series speaks for it:

    channel = median of (m·T(n) − n·T(m)) / (m − n) over the trusted members' pairs of n and m calls,
              between 0 and a tenth of a long series of any member
    call    = fast((T(n) − channel) / n) over short and long          fast: the mean of the faster half
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LARGEST_CHANNEL = 0.1
"""Share of a long series that may be the channel's."""
SHORT, LONG = 0, 1


@dataclass(frozen=True, slots=True)
class Durations:
    """The series of one member: arrays of (processes, pairs, 2), the short series of a pair and its long one."""

    elapsed_ns: Any
    calls: Any
    """How many calls each series had."""

    @property
    def slopes_ns(self) -> Any:
        """Plain slopes between the two series of each pair: (processes, pairs)."""
        elapsed_ns, calls = (values[..., LONG] - values[..., SHORT] for values in (self.elapsed_ns, self.calls))
        return elapsed_ns / calls


def channel_ns(trusted: Sequence[Durations], others: Sequence[Durations] = ()) -> float:
    """Return what a series costs beside its calls, over all processes of the trusted members.

    At most a tenth of the shortest member's long series, `others` included: more is noise, which must not make a call
    vanish. Calls are then said to take longer than they do, those of all members alike.
    """
    import numpy as np

    found = [(one.elapsed_ns[..., LONG] - one.slopes_ns * one.calls[..., LONG]).ravel() for one in trusted]
    shortest = min(float(np.median(one.elapsed_ns[..., LONG])) for one in (*trusted, *others))
    return float(np.clip(np.median(np.concatenate(found)), 0.0, LARGEST_CHANNEL * shortest))


def call_ns(member: Durations, channel: float) -> Any:
    """Return the time per call for each process: (processes,)."""
    import numpy as np

    each = (member.elapsed_ns - channel) / member.calls
    return np.maximum(fast(each.reshape(len(each), -1)), 1e-3)


def slope_ns(member: Durations) -> Any:
    """Return the plain slope for each process: what `call_ns` is compared with, and never the claim."""
    import numpy as np

    return np.median(member.slopes_ns, axis=-1)


def fast(values: Any) -> Any:
    """Return the mean of the faster half along the last axis, one value at least."""
    import numpy as np

    return np.sort(values, axis=-1)[..., : max(1, values.shape[-1] // 2)].mean(axis=-1)
