"""The order in which members of a comparison are timed: ABBA, for two members or more.

A pair is one visit to each member with the same inputs. Every second pair runs the other way round, so that a machine
that warms up or slows down steadily favours nobody: with members A, B, C the order is A B C, C B A, B C A, A C B, ….
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from joulegrid.kernels.timing.slope import Durations

FLUSHES = "flush"
"""In a member's place: series in which a trusted one flushed the device's cache and called nothing."""


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
    elapsed_ns: int
    """By the judge's clock, from `go` to `done`."""
    waited_ns: int | None = None
    """Of these, how long the process waited for a core, as the kernel counts; never taken off."""
    device_ns: int | None = None
    """By the device's clock, as the process says; a CPU has none."""
    copied_ns: int | None = None
    """How long outputs were copied on a GPU, after the series' time was taken."""


def orders(members: Sequence[str], pairs: int, turn: int = 0) -> Iterator[tuple[str, ...]]:
    """Yield each pair's order; `turn` (the process's number) says who begins."""
    for pair in range(pairs):
        first = (turn + pair // 2) % len(members)
        forward = (*members[first:], *members[:first])
        yield forward[::-1] if pair % 2 else forward


def durations(samples: Sequence[Sample], member: str) -> Durations:
    """Gather a member's samples as arrays of (processes, pairs); `ValueError` where any are missing."""
    import numpy as np

    own = [sample for sample in samples if sample.member == member]
    lengths = sorted({sample.calls for sample in own})
    if len(lengths) != 2 or lengths[1] != 2 * lengths[0]:
        raise ValueError(f"{member}: series of {lengths} calls were timed; a slope needs N and 2N")
    taken = {(sample.process, sample.pair, sample.calls): sample.elapsed_ns for sample in own}
    processes = sorted({sample.process for sample in own})
    pairs = sorted({sample.pair for sample in own})
    missing = len(processes) * len(pairs) * 2 - len(taken)
    if missing:
        raise ValueError(f"{member}: {missing} of its series are missing")

    def table(calls: int) -> object:
        return np.array([[taken[process, pair, calls] for pair in pairs] for process in processes], dtype=float)

    return Durations(table(lengths[0]), table(lengths[1]), lengths[0])
