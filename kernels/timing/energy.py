"""Joules per call, by repetition to a window long enough for a sampler. The joules themselves are not read here.

A window `X calls` repeats series of 2N calls on fresh inputs, as they were timed. Making and writing the inputs costs
energy, too, so that a second window `X inputs` does that alone. Joules per call are those of one repetition of the
first less those of one of the second, over 2N. A call that took another time inside its window than when it was
timed makes them worthless, which `agrees` says. Of some of the candidate's series a call's outputs are read and held
against the oracle when the window is over: who only waits there is found.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.timing.afterwards import Afterwards
from joulegrid.kernels.timing.conditions import off_cores
from joulegrid.kernels.timing.ground import Ground
from joulegrid.kernels.timing.inputs import InputSet, fresh_inputs, turned
from joulegrid.kernels.timing.member import Member, TimedMember, timed_member
from joulegrid.kernels.timing.result import EnergyWindow
from joulegrid.kernels.timing.series import Visit, series_ns, warm_up

KEPT = 12
"""Series of a window of which a call's outputs are looked at."""
_RANDOM = random.SystemRandom()
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
    """What the timing found: N, members' seconds per call over all of their series, and the channel's of a series."""

    calls: int
    call_s: Mapping[str, float]
    channel_s: float


@dataclass(slots=True)
class Kept:
    """Outputs of calls from all over a window: each series is as likely among them as any other."""

    visits: list[Visit] = field(default_factory=list)
    _series: int = 0

    def look(self, timed: TimedMember, sets: Sequence[InputSet]) -> None:
        """Keep what one call of the last series left, or not (reservoir sampling, Vitter 1985)."""
        self._series += 1
        place = len(self.visits) if len(self.visits) < KEPT else _RANDOM.randrange(self._series)
        if place < KEPT:
            call = _RANDOM.randrange(len(sets))
            self.visits[place : place + 1] = [Visit(timed.member.name, sets, {call: timed.outputs(call)})]


@dataclass(frozen=True, slots=True)
class Repetition:
    """What a window repeats."""

    timed: TimedMember
    problem: Problem
    sets: Sequence[InputSet]
    calling: bool
    call_s: float
    """What a call took when it was timed."""
    channel_s: float
    """What a series takes beside its calls."""


def energy_windows(
    zygote: Zygote, members: Sequence[Member], ground: Ground, probe: EnergyProbe, timed: Timed
) -> list[EnergyWindow]:
    """Run each member's two windows in a fresh process of its own; `WrongAfterTiming` where calls did no work."""
    windows = []
    afterwards = Afterwards(ground.problem, ground.draw, ground.setting.state)
    with off_cores(ground.setting.cores):
        for member in members:
            sets = fresh_inputs(ground.problem, ground.draw, 2 * timed.calls)
            with timed_member(zygote, member, ground.setting) as running:
                running.prepare([one.arguments for one in sets])
                running.first_call()
                warm_up(running, sets, ground.settings.warm_up_s)
                for calling in (True, False):
                    kept = None if member.trusted or not calling else Kept()
                    took = timed.call_s[member.name], timed.channel_s
                    repetition = Repetition(running, ground.problem, sets, calling, *took)
                    windows.append(_window(repetition, probe, ground.settings.energy_s, kept))
                    for visit in kept.visits if kept else ():
                        afterwards.alone(visit)
    return windows


def _window(repetition: Repetition, probe: EnergyProbe, seconds: float, kept: Kept | None) -> EnergyWindow:
    timed, calling = repetition.timed, repetition.calling
    member = timed.member.name
    name = f"{member} {'calls' if calling else 'inputs'}"
    series = calling_ns = 0
    began_s = time.monotonic()
    with probe.window(name, min_seconds=seconds) as window:
        for _ in window:
            sets = turned(repetition.problem, repetition.sets)
            inputs = [one.arguments for one in sets]
            if calling:
                calling_ns += series_ns(timed, inputs)
                if kept is not None:
                    kept.look(timed, sets)
            else:
                timed.refill(inputs)
            series += 1
    ended_s = time.monotonic()
    per_call_s = (calling_ns / 1e9 / series - repetition.channel_s) / len(repetition.sets)
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
