"""Timed series of one set of fresh processes: who runs when, on which inputs, by the judge's clock.

Every member stands still but the one that runs. The inputs of a series are written when all that ran before is done,
its outputs are read before the next are written: nothing can be computed ahead, kept back or shown again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from joulegrid.kernels.problem import Arguments
from joulegrid.kernels.timing.inputs import InputSet
from joulegrid.kernels.timing.pairs import Sample, orders

_RANDOM = random.SystemRandom()
"""Whether the short or the long series comes first is nothing that a candidate could know."""


class TimedSession(Protocol):
    """One member in a process of its own, built and loaded, that stands still whenever it is not timed."""

    def run_series(self, inputs: Sequence[Arguments]) -> int:
        """Write these inputs, say `go`, wait for `done`; return the nanoseconds between the two."""
        ...

    @property
    def waited_ns(self) -> int | None:
        """How long it waited for a core during its last series; `None` where that is not known."""
        ...

    def outputs(self) -> list[list[Any]]:
        """Return what each call of the last series left: copies of its tensors, taken while it stands still."""
        ...


@dataclass(frozen=True, slots=True)
class Visit:
    """What one member left of one series: outputs to be verified."""

    member: str
    sets: Sequence[InputSet]
    outputs: Sequence[Any]


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
            visits = []
            for place, member in enumerate(order):
                session = sessions[member]
                elapsed_ns = session.run_series([one.arguments for one in sets])
                samples.append(Sample(course.process, pair, member, place, calls, elapsed_ns, session.waited_ns))
                if member in course.verified:
                    visits.append(Visit(member, sets, session.outputs()))
            course.verify(visits)


def warm_up(session: TimedSession, sets: Sequence[InputSet], seconds: float) -> None:
    """Run series over all of these inputs, every page of memory touched, until they have taken this long together."""
    spent_ns = 0
    while True:
        spent_ns += session.run_series([one.arguments for one in sets])
        if spent_ns >= seconds * 1e9:
            return


def rough_call_ns(session: TimedSession, sets: Sequence[InputSet]) -> float:
    """Return about how long a call takes: the best of three series less one call alone. Only to choose N by."""
    arguments = [one.arguments for one in sets]
    alone = min(session.run_series(arguments[:1]) for _ in range(3))
    together = min(session.run_series(arguments) for _ in range(3))
    return alone if len(sets) == 1 else max((together - alone) / (len(sets) - 1), 1.0)


def chosen_calls(fastest_ns: float, series_s: float, set_bytes: int, memory_bytes: int, most: int) -> int:
    """Return N: long enough a series of the fastest member, unless 2N sets would take more memory than allowed."""
    by_time = -(-series_s * 1e9 // max(fastest_ns, 1.0))
    by_memory = memory_bytes // (2 * max(set_bytes, 1))
    return int(max(1, min(by_time, by_memory, most)))
