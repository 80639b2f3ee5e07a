"""Timed series of one set of fresh processes: who runs when, on which inputs, by the judge's clock.

Every member stands still but the one that runs. The inputs of a series are written when all that ran before is done,
its outputs are read before the next are written: nothing can be computed ahead, kept back or shown again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from joulegrid.kernels.problem import Arguments
from joulegrid.kernels.timing.inputs import InputSet
from joulegrid.kernels.timing.pairs import FLUSHES, Sample, orders
from joulegrid.kernels.timing.result import TimingSettings

LONGEST = 10
"""How many times as long as wanted a series may get to go beyond the cache."""
_RANDOM = random.SystemRandom()
"""Whether the short or the long series comes first is nothing that a candidate could know."""


class TimedSession(Protocol):
    """One member in a process of its own, built and loaded, that stands still whenever it is not timed."""

    def run_series(self, inputs: Sequence[Arguments], *, flush: bool = False) -> int:
        """Write these inputs, say `go`, wait for `done`; return the nanoseconds between the two.

        `flush` pushes everything out of the device's cache before each call, inside that time.
        """
        ...

    def run_flushes(self, count: int) -> int:
        """Flush so many times and call nothing, through the same channel; return the nanoseconds."""
        ...

    @property
    def trusted(self) -> bool:
        """Whether it runs the judge's own code, a baseline's."""
        ...

    @property
    def waited_ns(self) -> int | None:
        """How long it waited for a core during its last series; `None` where that is not known."""
        ...

    @property
    def device_ns(self) -> int | None:
        """The last series by the device's clock, as the process says; `None` on a CPU."""
        ...

    @property
    def copied_ns(self) -> int | None:
        """How long the last series' outputs were copied afterwards; `None` on a CPU."""
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
    flush: bool = False
    """The device's cache is flushed before each call, and by a trusted member alone for as many times."""


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
                elapsed_ns = session.run_series([one.arguments for one in sets], flush=course.flush)
                beside = session.waited_ns, session.device_ns, session.copied_ns
                samples.append(Sample(course.process, pair, member, place, calls, elapsed_ns, *beside))
                if member in course.verified:
                    visits.append(Visit(member, sets, session.outputs()))
            if course.flush:
                trusted = next(session for session in sessions.values() if session.trusted)
                elapsed_ns = trusted.run_flushes(calls)
                samples.append(Sample(course.process, pair, FLUSHES, len(order), calls, elapsed_ns))
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


def chosen_calls(fastest_ns: float, settings: TimingSettings, set_bytes: int, cache: int | None) -> int:
    """Return N: long enough a series of the fastest member, and 2N sets beyond the cache where that is within reach.

    Never more than fit into the memory that is allowed; for the cache's sake a series gets ten times as long at most.
    """
    by_time = math.ceil(settings.series_s * 1e9 / max(fastest_ns, 1.0))
    most = max(1, min(settings.memory_bytes // (2 * max(set_bytes, 1)), settings.most_calls))
    beyond = math.ceil((cache or 0) / (2 * max(set_bytes, 1))) + 1
    wanted = max(by_time, beyond) if beyond <= min(most, LONGEST * by_time) else by_time
    return max(1, min(wanted, most))
