"""Joules of a kernel's calls at the command line: the clock's windows, each a block of `joulegrid.meter`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from joulegrid.cases.judged import CallEnergy
from joulegrid.jobs.meter.block import Block, meter

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Energy
    from joulegrid.kernels.timing.result import EnergyWindow, Timing

CANDIDATE = "candidate"


@dataclass(slots=True)
class MeteredWindow:
    """Repeats a body until its time is over, once at least."""

    end_s: float

    def __iter__(self) -> Iterator[int]:
        """Yield 0, 1, 2, …"""
        count = 0
        while count == 0 or time.monotonic() < self.end_s:
            yield count
            count += 1


@dataclass(slots=True)
class MeterProbe:
    """An `EnergyProbe` whose windows are metered blocks of this process and of all that it started."""

    blocks: dict[str, Block] = field(default_factory=dict)

    @contextmanager
    def window(self, name: str, *, min_seconds: float = 0.0) -> Iterator[MeteredWindow]:
        """Open a metered window."""
        block = meter()
        with block:
            yield MeteredWindow(time.monotonic() + min_seconds)
        self.blocks[name] = block

    def call_energy(self, timing: Timing) -> CallEnergy | None:
        """Return the joules of a call of the candidate: its calls' window less that of its inputs, series by series.

        `None` where there are no such windows. The interval takes the worst of both ends.
        """
        parts = {one.part: one for one in timing.energy if one.member == CANDIDATE}
        if parts.keys() != {"calls", "inputs"}:
            return None
        calls, inputs = (self.blocks[parts[name].name].energy for name in ("calls", "inputs"))
        return difference(parts["calls"], calls, parts["inputs"], inputs)


def difference(window: EnergyWindow, calls: Energy, filling: EnergyWindow, inputs: Energy) -> CallEnergy:
    """Return the joules of one call: a series with calls less a series that only fills in inputs."""
    count = window.series * window.calls
    named = {"provenance": calls.provenance, "source": calls.source, "scope": calls.scope}
    if calls.energy_j is None or inputs.energy_j is None:
        return CallEnergy(energy_j=None, calls=count, reason=calls.reason or inputs.reason, **named)
    if window.agrees is False:
        reason = "a call took another time in its window than when it was timed"
        return CallEnergy(energy_j=None, calls=count, reason=reason, **named)

    def of_call(left_j: float | None, right_j: float | None) -> float | None:
        if left_j is None or right_j is None:
            return None
        return (left_j / window.series - right_j / filling.series) / window.calls

    return CallEnergy(
        energy_j=of_call(calls.energy_j, inputs.energy_j),
        low_j=of_call(calls.low_j, inputs.high_j),
        high_j=of_call(calls.high_j, inputs.low_j),
        calls=count,
        **named,
    )
