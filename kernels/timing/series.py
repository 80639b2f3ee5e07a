"""Timed series of one set of fresh processes: who runs when, on which inputs, by the judge's clock.

Every member stands still but the one that runs. The inputs of a series are written when all that ran before is done,
its outputs are read before the next are written: nothing can be computed ahead, kept back or shown again. All members
get their inputs first and then run at once after each other: what the machine does meanwhile it does to all of them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from joulegrid.kernels.problem import Arguments
from joulegrid.kernels.timing.inputs import InputSet
from joulegrid.kernels.timing.pairs import Sample, orders
from joulegrid.kernels.timing.result import TimingSettings

FEWEST_READ, SHARE_READ = 16, 1 / 8
"""Calls of a series whose outputs are read and compared: so many, and this share of a longer one. Which ones is drawn
when the series is over. Who skips one call of a hundred stays hidden in 6·10⁻⁵ of timings of the usual length."""
LONGEST = 10
"""How many times as long as wanted a series may get to go beyond the cache."""
_RANDOM = random.SystemRandom()
"""Whether the short or the long series comes first is nothing that a candidate could know."""


class TimedSession(Protocol):
    """One member in a process of its own, built and loaded, that stands still whenever it is not timed."""

    def refill(self, inputs: Sequence[Arguments]) -> None:
        """Write these inputs where the series will find them, while the member stands still."""
        ...

    def run_series(self, count: int) -> int:
        """Say `go`, wait for `done` of so many calls; return the nanoseconds between the two."""
        ...

    @property
    def waited_ns(self) -> int | None:
        """How long it waited for a core during its last series; `None` where that is not known."""
        ...

    def outputs(self, call: int) -> list[Any]:
        """Return what this call of the last series left: copies of its tensors, taken while it stands still."""
        ...


@dataclass(frozen=True, slots=True)
class Visit:
    """What one member left of one series: outputs to be verified."""

    member: str
    sets: Sequence[InputSet]
    outputs: Mapping[int, Any]
    """By the number of the call, those that were read."""


@dataclass(frozen=True, slots=True)
class Course:
    """How one set of processes is timed."""

    process: int
    calls: int
    """N."""
    pairs: int
    fresh: Callable[[int], list[InputSet]]
    """Makes so many inputs that were never seen."""
    verified: Collection[str]
    """Members whose outputs are looked at."""
    verify: Callable[[Sequence[Visit]], None]
    """Looks at what they left of the same inputs; raises to end the timing."""


def run_course(sessions: Mapping[str, TimedSession], course: Course, samples: list[Sample]) -> None:
    """Time all pairs of one set of processes: short and long series of every member, outputs verified series by series.

    Samples are appended one by one, so that those before a fault are kept.
    """
    for pair, order in enumerate(orders(list(sessions), course.pairs, course.process)):
        lengths = [course.calls, 2 * course.calls]
        _RANDOM.shuffle(lengths)
        for calls in lengths:
            sets = course.fresh(calls)
            for member in order:
                sessions[member].refill([one.arguments for one in sets])
            for place, member in enumerate(order):
                session = sessions[member]
                elapsed_ns = session.run_series(calls)
                samples.append(Sample(course.process, pair, member, place, calls, elapsed_ns, session.waited_ns))
            read = read_calls(calls)
            visits = [
                Visit(member, sets, {call: sessions[member].outputs(call) for call in read})
                for member in order
                if member in course.verified
            ]
            course.verify(visits)


def read_calls(calls: int) -> list[int]:
    """Draw the calls of a series whose outputs are read; nobody knew them while it ran."""
    return sorted(_RANDOM.sample(range(calls), min(calls, max(FEWEST_READ, math.ceil(calls * SHARE_READ)))))


def series_ns(session: TimedSession, inputs: Sequence[Arguments]) -> int:
    """Run one series on these inputs; return its nanoseconds."""
    session.refill(inputs)
    return session.run_series(len(inputs))


def warm_up(session: TimedSession, sets: Sequence[InputSet], seconds: float) -> None:
    """Run series over all of these inputs, every page of memory touched, until they have taken this long together."""
    spent_ns = 0
    while True:
        spent_ns += series_ns(session, [one.arguments for one in sets])
        if spent_ns >= seconds * 1e9:
            return


def rough_call_ns(session: TimedSession, sets: Sequence[InputSet]) -> float:
    """Return about how long a call takes: the best of three series less one call alone. Only to choose N by."""
    arguments = [one.arguments for one in sets]
    alone = min(series_ns(session, arguments[:1]) for _ in range(3))
    together = min(series_ns(session, arguments) for _ in range(3))
    return alone if len(sets) == 1 else max((together - alone) / (len(sets) - 1), 1.0)


def chosen_calls(fastest_ns: float, settings: TimingSettings, set_bytes: int, cache: int | None) -> int:
    """Return N: long enough a series of the fastest member, and 2N sets beyond the cache where that is within reach.

    Never more than fit into the memory that is allowed; for the cache's sake a series gets ten times as long at most.
    """
    by_time = math.ceil(settings.series_s * 1e9 / max(fastest_ns, 1.0))
    most = max(1, min(settings.memory_bytes // (2 * max(set_bytes, 1)), settings.most_calls))
    beyond = math.ceil((cache or 0) / (2 * max(set_bytes, 1))) + 1
    wanted = max(by_time, beyond) if beyond <= min(most, LONGEST * by_time) else by_time
    return max(1, min(wanted, most))
