"""Timed series of one set of fresh processes: who runs when, on which inputs, by the judge's clock.

Every member is frozen but the one that runs. The inputs of a series are written when all that ran before is done, the
outputs are read before the next are written: nothing can be computed ahead, kept back or shown again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from joulegrid.kernels.problem import Arguments
from joulegrid.kernels.timing.inputs import InputSet
from joulegrid.kernels.timing.pairs import Sample, orders

_RANDOM = random.SystemRandom()
"""Whether the short or the long series comes first is nothing that a candidate could know."""


class TimedSession(Protocol):
    """One member in a process of its own, its module built and its weights loaded; frozen between its visits."""

    def run_series(self, inputs: Sequence[Arguments]) -> int:
        """Write these inputs, say `go`, wait for `done`; return the nanoseconds between the two."""
        ...

    def outputs(self) -> list[Any]:
        """Return what each call of the last series left: judge-owned trees of tensors."""
        ...

    def freeze(self) -> None:
        """Stop everything that the member runs."""
        ...

    def thaw(self) -> None:
        """Let it go on."""
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
    verify: Callable[[Sequence[Visit]], None]
    """Looks at what all members left of the same inputs; raises to end the timing."""


def run_course(sessions: Mapping[str, TimedSession], course: Course) -> list[Sample]:
    """Time all pairs of one set of processes: short and long series of every member, outputs verified pair by pair."""
    samples: list[Sample] = []
    for pair, order in enumerate(orders(list(sessions), course.pairs, course.process)):
        lengths = [course.calls, 2 * course.calls]
        _RANDOM.shuffle(lengths)
        for calls in lengths:
            sets = course.fresh(calls)
            visits = []
            for place, member in enumerate(order):
                elapsed_ns, outputs = visit(sessions[member], sets)
                samples.append(Sample(course.process, pair, member, place, calls, elapsed_ns))
                visits.append(Visit(member, sets, outputs))
            course.verify(visits)
    return samples


def visit(session: TimedSession, sets: Sequence[InputSet]) -> tuple[int, list[Any]]:
    """Run one series of a frozen member; return nanoseconds and outputs. It is frozen again before these are read."""
    with awake(session):
        elapsed_ns = session.run_series([one.arguments for one in sets])
    return elapsed_ns, session.outputs()


@contextmanager
def awake(session: TimedSession) -> Iterator[None]:
    """Let a member run inside the block."""
    session.thaw()
    try:
        yield
    finally:
        session.freeze()


def warm_up(session: TimedSession, sets: Sequence[InputSet], seconds: float) -> int:
    """Run series until they have taken this long together; return the nanoseconds per call of the last one."""
    spent_ns = 0
    while True:
        elapsed_ns, _ = visit(session, sets)
        spent_ns += elapsed_ns
        if spent_ns >= seconds * 1e9:
            return elapsed_ns // len(sets)


def chosen_calls(fastest_ns: float, series_s: float, set_bytes: int, memory_bytes: int, most: int) -> int:
    """Return N: long enough a series of the fastest member, unless 2N sets would take more memory than allowed."""
    by_time = -(-series_s * 1e9 // max(fastest_ns, 1.0))
    by_memory = memory_bytes // (2 * max(set_bytes, 1))
    return int(max(1, min(by_time, by_memory, most)))
