"""Timed series of one set of fresh processes: who runs when, on which inputs, by the judge's clock.

Every member stands still but the one that runs. The inputs of a series are written when all that ran before is done,
its outputs are read before the next are written: nothing can be computed ahead, kept back or shown again. All members
get their inputs first and then run at once after each other: what the machine does meanwhile it does to all of them.

Weights change between pairs, nobody but the judge knows how long a series will be, and at a time that is drawn every
process has a series that is not timed, with inputs of all kinds among its calls: who computes otherwise while it is
timed than while it is verified has to guess when.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from joulegrid.kernels.problem import Arguments
from joulegrid.kernels.timing.inputs import InputSet
from joulegrid.kernels.timing.pairs import FLUSHES, Sample, orders
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

    @property
    def trusted(self) -> bool:
        """Whether it runs the judge's own code, a baseline's."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Change the module's weights in place."""
        ...

    def refill(self, inputs: Sequence[Arguments]) -> None:
        """Write these inputs where the series will find them, while the member stands still."""
        ...

    def run_series(self, count: int, *, flush: bool = False) -> int:
        """Say `go`, wait for `done` of so many calls; return the nanoseconds between the two.

        `flush` pushes everything out of the device's cache before each call, inside that time.
        """
        ...

    def run_flushes(self, count: int) -> int:
        """Flush so many times and call nothing, through the same channel; return the nanoseconds."""
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
class Left:
    """What the members left of one series, and what it was for."""

    visits: Sequence[Visit]
    state: Mapping[str, Any]
    """Weights that they had."""
    odd: Sequence[int] = ()
    """Calls of an untimed series whose inputs were of another kind than those that are timed."""


@dataclass(frozen=True, slots=True)
class Course:
    """How one set of processes is timed."""

    process: int
    calls: int
    """N."""
    pairs: int
    fresh: Callable[[int], list[InputSet]]
    """Makes so many inputs that were never seen."""
    odd: Callable[[], list[InputSet]]
    """Makes a few inputs of other kinds."""
    weights: Callable[[], Mapping[str, Any]]
    """Makes other weights."""
    verified: Collection[str]
    """Members whose outputs are looked at."""
    verify: Callable[[Left], None]
    """Looks at what they left of the same inputs; raises to end the timing."""
    flush: bool = False
    """The device's cache is flushed before each call, and by a trusted member alone for as many times."""


def run_course(sessions: Mapping[str, TimedSession], course: Course, samples: list[Sample]) -> None:
    """Time all pairs of one set of processes: short and long series of every member, outputs verified series by series.

    Samples are appended series by series, so that those before a fault are kept.
    """
    untimed = _RANDOM.randrange(course.pairs)
    for pair, order in enumerate(orders(list(sessions), course.pairs, course.process)):
        state = course.weights()
        for session in sessions.values() if state else ():
            session.load(state)
        series: list[int | None] = [*_RANDOM.sample(lengths(course.calls), 2)]
        if pair == untimed:
            series.insert(_RANDOM.randrange(3), None)
        for calls in series:
            if calls is None:
                course.verify(_untimed(sessions, course, state))
                continue
            sets = course.fresh(calls)
            samples += [replace(one, pair=pair) for one in _run(sessions, order, sets, course)]
            course.verify(Left(_visits(sessions, course, sets, read_calls(calls)), state))


def _run(
    sessions: Mapping[str, TimedSession], order: Sequence[str], sets: Sequence[InputSet], course: Course
) -> list[Sample]:
    """Run one series of each member, then one of flushes alone where calls are flushed."""
    for member in order:
        sessions[member].refill([one.arguments for one in sets])
    samples, calls = [], len(sets)
    for place, member in enumerate(order):
        session = sessions[member]
        elapsed_ns = session.run_series(calls, flush=course.flush)
        beside = session.waited_ns, session.device_ns, session.copied_ns
        samples.append(Sample(course.process, 0, member, place, calls, elapsed_ns, *beside))
    if course.flush:
        elapsed_ns = next(session for session in sessions.values() if session.trusted).run_flushes(calls)
        samples.append(Sample(course.process, 0, FLUSHES, len(order), calls, elapsed_ns))
    return samples


def _untimed(sessions: Mapping[str, TimedSession], course: Course, state: Mapping[str, Any]) -> Left:
    """Run a series that nobody can tell from a timed one before it ends, some of its calls on inputs of other kinds.

    It may be as long as any and is mostly shorter: work that is put together for several calls is not done at its end.
    """
    kinds = course.odd()[: longest(course.calls)]
    calls = max(len(kinds), round(longest(course.calls) ** _RANDOM.random()))
    odd = dict(zip(_RANDOM.sample(range(calls), len(kinds)), kinds, strict=True))
    mixed = [odd.get(call, one) for call, one in enumerate(course.fresh(calls))]
    _run(sessions, [member for member in sessions if member in course.verified], mixed, course)
    return Left(_visits(sessions, course, mixed, sorted({*read_calls(calls), *odd})), state, sorted(odd))


def lengths(calls: int) -> list[int]:
    """Draw the lengths of a short and a long series: from N and from 2N, up to a quarter of N more."""
    return [calls + _RANDOM.randint(0, calls // 4), 2 * calls + _RANDOM.randint(0, calls // 4)]


def longest(calls: int) -> int:
    """Return how many calls a series has at most."""
    return 2 * calls + calls // 4


def _visits(
    sessions: Mapping[str, TimedSession], course: Course, sets: Sequence[InputSet], read: Sequence[int]
) -> list[Visit]:
    return [
        Visit(member, sets, {call: sessions[member].outputs(call) for call in read})
        for member in sessions
        if member in course.verified
    ]


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
    most = max(1, min(4 * settings.memory_bytes // (9 * max(set_bytes, 1)), settings.most_calls))
    beyond = math.ceil((cache or 0) / (2 * max(set_bytes, 1))) + 1
    wanted = max(by_time, beyond) if beyond <= min(most, LONGEST * by_time) else by_time
    return max(1, min(wanted, most))
