"""Members whose times are made up: channel, time per call, noise of machine, process and series; no clock is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from joulegrid.kernels.module import load_state
from joulegrid.kernels.problem import Arguments
from joulegrid.kernels.timing.pairs import Sample, orders


@dataclass
class Machine:
    """What all members of one simulated machine share."""

    seed: int
    channel_ns: float = 120_000.0
    process_noise: float = 0.005
    series_noise: float = 0.01
    drift: float = 0.0
    """Share by which everything becomes slower from one series to the next."""
    generator: np.random.Generator = field(init=False)
    series: int = 0

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng(self.seed)

    def process(self, call_ns: float) -> float:
        """A fresh process: its own time per call."""
        return float(call_ns * np.exp(self.generator.normal(0, self.process_noise)))

    def elapsed_ns(self, call_ns: float, calls: int) -> int:
        """One series: noise adds time only, now and then much of it."""
        self.series += 1
        work = calls * call_ns * (1 + self.drift * self.series)
        late = abs(self.generator.normal(0, self.series_noise)) * work
        if self.generator.random() < 0.05:
            late += self.generator.exponential(0.3) * work
        return int(self.channel_ns + work + late)


def samples(
    machine: Machine, calls_ns: dict[str, float], calls: int = 50, processes: int = 5, pairs: int = 8
) -> list[Sample]:
    """Time members as `run_course` does."""
    found = []
    for process in range(processes):
        own = {member: machine.process(call_ns) for member, call_ns in calls_ns.items()}
        for pair, order in enumerate(orders(list(own), pairs, process)):
            for count in (calls, 2 * calls + pair % 3):
                for place, member in enumerate(order):
                    elapsed = machine.elapsed_ns(own[member], count)
                    found.append(Sample(process, pair, member, place, count, elapsed))
    return found


@dataclass
class SimulatedSession:
    """A `TimedSession` that computes truly and whose clock is made up."""

    machine: Machine
    call_ns: float
    compute: Any
    """Arguments → outputs."""
    seen: list[Arguments] = field(default_factory=list)
    waited_ns: int | None = None
    _inputs: Sequence[Arguments] = ()
    _outputs: list[Any] = field(default_factory=list)

    def load(self, state: Mapping[str, Any]) -> None:
        """Change the weights of what computes, where it has any."""
        if isinstance(self.compute, torch.nn.Module):
            load_state(self.compute, state)

    def refill(self, inputs: Sequence[Arguments]) -> None:
        """Take inputs."""
        self._inputs = inputs

    def run_series(self, count: int) -> int:
        """Compute, and say a time."""
        assert count == len(self._inputs)
        self.seen += self._inputs
        self._outputs = [[self.compute(*one.args, **one.kwargs)] for one in self._inputs]
        return self.machine.elapsed_ns(self.call_ns, count)

    def outputs(self, call: int) -> list[Any]:
        """Return what was computed."""
        return list(self._outputs[call])
