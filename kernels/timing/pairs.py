"""The order in which members of a comparison are timed: ABBA, for two members or more.

A pair is one visit to each member with the same inputs. Every second pair runs the other way round, so that a machine
that warms up or slows down steadily favours nobody: with members A, B, C the order is A B C, C B A, B C A, A C B, ….
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from joulegrid.kernels.timing.slope import Durations


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed series."""

    process: int
    """Which set of fresh processes."""
    pair: int
    """Which inputs: those of one pair are the same for every member."""
    member: str
    place: int
    """How many series of the same pair ran before it."""
    calls: int
    """Between N and 5/4 N, or between 2N and 9/4 N: drawn for each series."""
    elapsed_ns: int
    """By the judge's clock, from `go` to `done`."""
    waited_ns: int | None = None
    """Of these, how long the process waited for a core, as the kernel counts; never taken off."""


def orders(members: Sequence[str], pairs: int, turn: int = 0) -> Iterator[tuple[str, ...]]:
    """Yield each pair's order; `turn` (the process's number) says who begins."""
    for pair in range(pairs):
        first = (turn + pair // 2) % len(members)
        forward = (*members[first:], *members[:first])
        yield forward[::-1] if pair % 2 else forward


def durations(samples: Sequence[Sample], member: str) -> Durations:
    """Gather a member's samples as arrays of (processes, pairs); `ValueError` where any are missing."""
    import numpy as np

    own = sorted(
        (sample for sample in samples if sample.member == member), key=lambda one: (one.process, one.pair, one.calls)
    )
    processes, pairs = (len({getattr(sample, name) for sample in own}) for name in ("process", "pair"))
    missing = processes * pairs * 2 - len(own)
    if missing:
        raise ValueError(f"{member}: {missing} of its series are missing; each pair has a short and a long one")
    calls, elapsed_ns = (
        np.array([getattr(sample, name) for sample in own], dtype=float).reshape(processes, pairs, 2)
        for name in ("calls", "elapsed_ns")
    )
    if not bool((calls[..., 0] < calls[..., 1]).all()):
        raise ValueError(f"{member}: series of equal length were timed; the channel's cost needs short and long ones")
    return Durations(elapsed_ns, calls)
