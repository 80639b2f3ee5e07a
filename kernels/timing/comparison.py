"""Members timed beside each other: fresh processes, warmed up alike, pairs of series on the same inputs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.timing.afterwards import CANDIDATE, TRUSTED
from joulegrid.kernels.timing.conditions import Conditions, conditions, off_cores, snapshot
from joulegrid.kernels.timing.enough import enough
from joulegrid.kernels.timing.ground import Ground
from joulegrid.kernels.timing.inputs import fresh_inputs, odd_inputs, odd_kinds, turned_weights
from joulegrid.kernels.timing.member import BaselineFailed, Member, TimedMember, timed_member
from joulegrid.kernels.timing.pairs import Sample
from joulegrid.kernels.timing.roofs import cache_bytes
from joulegrid.kernels.timing.series import Course, Left, chosen_calls, longest, rough_call_ns, run_course, warm_up

ROUGH_SETS = 16
FEWEST_PAIRS = 2
_RANDOM = random.SystemRandom()
VERIFIED = (CANDIDATE, TRUSTED)
"""The candidate's outputs are held against eager's; other baselines replay CUDA graphs, which overwrite theirs."""
Verify = Callable[[Left, int], None]
"""Looks at what members left of one series, so many calls of it beside the oracle."""


@dataclass(slots=True)
class Comparison:
    """What was timed: samples, and what each fresh process had beside its times."""

    calls: int = 0
    """N."""
    pairs: int = 0
    processes: int = 0
    samples: list[Sample] = field(default_factory=list)
    first_call_s: dict[str, list[float]] = field(default_factory=dict)
    peak_memory_bytes: dict[str, int] = field(default_factory=dict)
    conditions: Conditions | None = None
    niceness: int | None = None

    def note(self, name: str, member: TimedMember) -> None:
        """Keep what a process had beside its times."""
        self.niceness = member.niceness
        self.first_call_s.setdefault(name, []).append(member.first_call_s)
        peak = member.peak_memory_bytes()
        if peak is not None:
            self.peak_memory_bytes[name] = max(peak, self.peak_memory_bytes.get(name, 0))


def compare_members(
    zygote: Zygote, members: Sequence[Member], ground: Ground, verify: Verify, into: Comparison
) -> Comparison:
    """Time members beside each other in sets of fresh processes; what was timed before a fault stays in `into`.

    Raises:
        CandidateFault: what the candidate did instead.
        WrongAfterTiming: by `verify`.
        BaselineFailed: a trusted member could not be run.
    """
    cores = ground.setting.cores
    with off_cores(cores):
        before, began_s = snapshot(cores), time.monotonic()
        while not enough(into.samples, ground.settings, began_s):
            process = into.processes
            with ExitStack() as stack:
                started = _started(stack, zygote, _turned(members, process), ground)
                if not into.calls:
                    into.calls, into.pairs = _chosen(started, ground)
                _time(started, process, ground, verify, into)
            into.processes += 1
        into.conditions = conditions(cores, ground.settings.threads, into.niceness, before)
    return into


def first_calls(zygote: Zygote, member: Member, ground: Ground) -> str | None:
    """Try a member in a process of its own; return why it does not run here, or `None`."""
    try:
        with ExitStack() as stack, off_cores(ground.setting.cores):
            _started(stack, zygote, [member], ground)
    except BaselineFailed as error:
        return error.reason
    return None


def _turned(members: Sequence[Member], process: int) -> list[Member]:
    """Who is forked first changes from process to process."""
    first = process % len(members)
    return [*members[first:], *members[:first]]


def _started(stack: ExitStack, zygote: Zygote, members: Sequence[Member], ground: Ground) -> dict[str, TimedMember]:
    """Start fresh processes and make their first calls."""
    one = [fresh_inputs(ground.problem, ground.draw, 1)[0].arguments]
    started = {}
    for member in members:
        timed = stack.enter_context(timed_member(zygote, member, ground.setting))
        timed.prepare(one)
        timed.first_call()
        started[member.name] = timed
    return started


def _chosen(started: Mapping[str, TimedMember], ground: Ground) -> tuple[int, int]:
    """N by the fastest member, and pairs by the time that they take."""
    settings, set_bytes = ground.settings, ground.set_bytes + ground.output_bytes
    fit = max(1, min(ROUGH_SETS, settings.memory_bytes // max(set_bytes, 1)))
    sets = fresh_inputs(ground.problem, ground.draw, fit)
    rough = []
    for timed in started.values():
        timed.prepare([one.arguments for one in sets])
        rough.append(rough_call_ns(timed, sets))
    calls = chosen_calls(min(rough), settings, set_bytes, cache_bytes(settings.device))
    pair_s = 3 * calls * sum(rough) / 1e9
    affordable = int(settings.budget_s / settings.processes / pair_s)
    return calls, max(FEWEST_PAIRS, min(settings.pairs, affordable))


def _time(started: Mapping[str, TimedMember], process: int, ground: Ground, verify: Verify, into: Comparison) -> None:
    settings, problem, draw = ground.settings, ground.problem, ground.draw
    sets = fresh_inputs(problem, draw, longest(into.calls))
    for timed in started.values():
        timed.prepare([one.arguments for one in sets])
        warm_up(timed, sets, settings.warm_up_s)
    series = iter(range(2 * into.pairs + 1))
    looked_at = set(_RANDOM.sample(range(2 * into.pairs + 1), min(settings.oracle_samples, 2 * into.pairs)))
    course = Course(
        process, into.calls, into.pairs,
        fresh=partial(fresh_inputs, problem, draw),
        odd=partial(odd_inputs, problem, draw, odd_kinds(draw, process, settings.oracle_kinds)),
        weights=partial(turned_weights, problem, draw, ground.setting.state),
        verified=VERIFIED,
        verify=lambda left: verify(left, int(next(series) in looked_at)),
    )  # fmt: skip
    run_course(started, course, into.samples)
    for name, timed in started.items():
        into.note(name, timed)
