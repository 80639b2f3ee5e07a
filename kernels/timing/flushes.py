"""What flushing a GPU's cache before each call costs, and series without it. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from joulegrid.kernels.timing.pairs import FLUSHES, Sample

LONG = 0.75
"""Series of more than this share of the longest one's calls are long ones, the others short."""


def without_flushes(samples: Sequence[Sample]) -> list[Sample]:
    """Return members' series less what a trusted member took for flushes alone, in the same process.

    That is read off a line through the middle of its short and of its long series, so that lengths may differ. The
    channel's cost goes with it. Where nothing was flushed the samples stay as they are.
    """
    lines = {process: _line(own) for process, own in _by_process(samples).items()}
    members = [one for one in samples if one.member != FLUSHES]
    if not lines:
        return members
    return [replace(one, elapsed_ns=one.elapsed_ns - round(_at(lines[one.process], one.calls))) for one in members]


def _by_process(samples: Sequence[Sample]) -> dict[int, list[Sample]]:
    found: dict[int, list[Sample]] = {}
    for one in samples:
        if one.member == FLUSHES:
            found.setdefault(one.process, []).append(one)
    return found


def _line(flushes: Sequence[Sample]) -> tuple[float, float]:
    """Nanoseconds of a series of no flush, and of each flush."""
    bound = LONG * max(one.calls for one in flushes)
    groups = ([one for one in flushes if one.calls <= bound], [one for one in flushes if one.calls > bound])
    (short, short_ns), (long, long_ns) = (
        (statistics.median(one.calls for one in group), statistics.median(one.elapsed_ns for one in group))
        for group in groups
    )
    each = (long_ns - short_ns) / (long - short)
    return long_ns - each * long, each


def _at(line: tuple[float, float], calls: int) -> float:
    return line[0] + line[1] * calls
