"""Joules per call, by repetition to a window long enough for a sampler. The joules themselves are not read here.

A window `X calls` repeats series of 2N calls on fresh inputs, as they were timed. Making and writing the inputs costs
energy, too, so that a second window `X inputs` does that alone. Joules per call are those of one repetition of the
first less those of one of the second, over 2N. A call that took another time inside its window than when it was
timed makes them worthless, which `agrees` says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.timing.conditions import off_cores
from joulegrid.kernels.timing.ground import Ground
from joulegrid.kernels.timing.inputs import InputSet, fresh_inputs, turned
from joulegrid.kernels.timing.member import Member, TimedMember, timed_member
from joulegrid.kernels.timing.result import EnergyWindow
from joulegrid.kernels.timing.series import series_ns, warm_up

AGREEMENT = 0.1
"""Share by which a call's time inside its window may differ from its timed one."""


class EnergyProbe(Protocol):
    """What a workload's probe offers: a window that repeats its body until it is long enough."""

    def window(self, name: str, *, min_seconds: float = 0.0) -> AbstractContextManager[RepeatingWindow]:
        """Open a window of this name, which a sampler finds its joules by."""
        ...


class RepeatingWindow(Protocol):
    """An open window."""

    def __iter__(self) -> Iterator[int]:
        """Yield 0, 1, 2, … until the window is long enough; once at least."""
        ...


@dataclass(frozen=True, slots=True)
class Timed:
    """What the timing found: N, and members' seconds per call."""

    calls: int
    call_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Repetition:
    """What a window repeats."""

    timed: TimedMember
    sets: Sequence[InputSet]
    calling: bool
    call_s: float
    """What a call took when it was timed."""


def energy_windows(
    zygote: Zygote, members: Sequence[Member], ground: Ground, probe: EnergyProbe, timed: Timed
) -> list[EnergyWindow]:
    """Run each member's two windows in a fresh process of its own."""
    windows = []
    with off_cores(ground.setting.cores):
        for member in members:
            sets = fresh_inputs(ground.problem, ground.draw, 2 * timed.calls)
            with timed_member(zygote, member, ground.setting) as running:
                running.prepare([one.arguments for one in sets])
                running.first_call()
                warm_up(running, sets, ground.settings.warm_up_s)
                for calling in (True, False):
                    repetition = Repetition(running, sets, calling, timed.call_s[member.name])
                    windows.append(_window(repetition, probe, ground.settings.energy_s))
    return windows


def _window(repetition: Repetition, probe: EnergyProbe, seconds: float) -> EnergyWindow:
    timed, calling = repetition.timed, repetition.calling
    member = timed.member.name
    name = f"{member} {'calls' if calling else 'inputs'}"
    series = calling_ns = 0
    began_s = time.monotonic()
    with probe.window(name, min_seconds=seconds) as window:
        for _ in window:
            inputs = [one.arguments for one in turned(repetition.sets)]
            if calling:
                calling_ns += series_ns(timed, inputs)
            else:
                timed.refill(inputs)
            series += 1
    ended_s = time.monotonic()
    per_call_s = calling_ns / 1e9 / (series * len(repetition.sets))
    return EnergyWindow(
        name=name,
        member=member,
        part="calls" if calling else "inputs",
        series=series,
        calls=len(repetition.sets),
        seconds=ended_s - began_s,
        calling_s=calling_ns / 1e9,
        agrees=abs(per_call_s / repetition.call_s - 1) <= AGREEMENT if calling else None,
    )
