"""Joules of a kernel's calls at the command line: the clock's windows, each a block of `joulegrid.meter`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from joulegrid.actors.difference import Left, Spread, less
from joulegrid.cases.judged import DISAGREES, NO_WINDOW, CallEnergy
from joulegrid.cluster.power.energy import unknown
from joulegrid.cluster.power.sampler.recorder import Recorder
from joulegrid.errors import UsageError
from joulegrid.jobs.meter.block import Block, meter
from joulegrid.jobs.meter.devices import NO_GPU, chosen_gpus, power_config

if TYPE_CHECKING:
    from joulegrid.cases.judging import Device
    from joulegrid.cluster.power.energy import Energy
    from joulegrid.kernels.timing.result import EnergyWindow, Timing

CANDIDATE = "candidate"
GPU = "gpu_board"
NOT_TIMED = "nothing was timed: without a GPU a Triton candidate is interpreted"


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


def meter_probe(device: Device, source: str) -> MeterProbe:
    """Return a probe for a candidate on this device.

    `UsageError` for a source that is none, `PreFlightError` for one that this machine lacks: before minutes of timing.
    """
    if source == "replay":
        raise UsageError("--source replay: a trace knows nothing of these calls; take a source that reads this machine")
    config = power_config(source)
    recorder = Recorder(config)
    try:
        recorder.start()
    finally:
        recorder.stop()
    return MeterProbe(device, source)


@dataclass(slots=True)
class MeterProbe:
    """An `EnergyProbe` whose windows are metered blocks of this process and of all that it started."""

    device: Device
    """Where the candidate runs: on `cpu` its joules are the processor's, whatever GPUs the machine has."""
    source: str = "auto"
    """What is read, as a meter takes it."""
    blocks: dict[str, Block] = field(default_factory=dict)

    @contextmanager
    def window(self, name: str, *, min_seconds: float = 0.0) -> Iterator[MeteredWindow]:
        """Open a metered window."""
        block = meter(gpu=self._gpu(), source=self.source)
        with block:
            yield MeteredWindow(time.monotonic() + min_seconds)
        self.blocks[name] = block

    def _gpu(self) -> str | None:
        """The one that a candidate computes on: the first visible one; the others would only add noise."""
        if self.device == "cpu":
            return NO_GPU
        found, _ = chosen_gpus(None, self.source)
        return found[0] if found else None

    def call_energy(self, timing: Timing | None) -> CallEnergy:
        """Return the joules of a call of the candidate: its calls' window less that of its inputs, series by series.

        Unknown with the reason where nothing was timed, or a window is missing.
        """
        parts = {one.part: one for one in (timing.energy if timing else ()) if one.member == CANDIDATE}
        if parts.keys() != {"calls", "inputs"}:
            return CallEnergy(energy_j=None, calls=0, reason=NOT_TIMED if timing is None else NO_WINDOW)
        calls, inputs = (self._own(self.blocks[parts[name].name].energy) for name in ("calls", "inputs"))
        return difference(parts["calls"], calls, parts["inputs"], inputs)

    def _own(self, energy: Energy) -> Energy:
        """The joules of the device that the candidate ran on: a processor's say nothing of a kernel on a GPU."""
        if self.device == "cpu" or energy.energy_j is None or energy.scope == GPU:
            return energy
        return unknown(f"it ran on a GPU, and the source {self.source} reads none here, but {energy.scope}")


def difference(window: EnergyWindow, calls: Energy, filling: EnergyWindow, inputs: Energy) -> CallEnergy:
    """Return the joules of one call: a series with calls less a series that only fills in inputs."""
    kind = {"provenance": calls.provenance, "source": calls.source, "scope": calls.scope}
    left = less(Spread(calls, window.series * window.calls), Spread(inputs, filling.series * window.calls))
    if window.agrees is False and left.energy_j is not None:
        left = Left(None, reason=DISAGREES)
    return CallEnergy(calls=window.series * window.calls, **asdict(left), **kind)
