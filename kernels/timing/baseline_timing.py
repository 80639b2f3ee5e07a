"""Time every way to run the unmodified module beside the others, and say which is the strongest."""

from __future__ import annotations

import time

from joulegrid.errors import PreFlightError
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.timing.afterwards import Afterwards
from joulegrid.kernels.timing.baselines import absent, baseline_member
from joulegrid.kernels.timing.comparison import Comparison, compare_members, first_calls
from joulegrid.kernels.timing.estimates import Estimates, fastest, raw
from joulegrid.kernels.timing.floor import Floor, physical_floor
from joulegrid.kernels.timing.ground import Ground, make_ground
from joulegrid.kernels.timing.result import BaselineName, Baselines, BaselineTiming, TimingSettings


def time_baselines(problem: Problem, settings: TimingSettings | None = None) -> Baselines:
    """Time the baselines that this machine can run.

    Raises:
        UsageError: for a shape or dtype that the problem lacks.
        PreFlightError: where no baseline runs here, eager included.
    """
    settings = settings or TimingSettings()
    ground = make_ground(problem, settings)
    with Zygote(settings.device) as zygote:
        return baselines_on(zygote, ground)


def baselines_on(zygote: Zygote, ground: Ground) -> Baselines:
    """Time the baselines that the settings name, those that exist here, with this zygote."""
    began_s = time.monotonic()
    settings = ground.settings
    reasons = {name: _reason(zygote, name, ground) for name in dict.fromkeys(("eager", *settings.baselines))}
    if reasons["eager"] is not None:
        raise PreFlightError(f"{ground.problem.name}: the unmodified module does not run: {reasons['eager']}")
    names = [name for name, reason in reasons.items() if reason is None]
    afterwards = Afterwards(ground.problem, ground.draw, ground.setting.state)
    members = [baseline_member(ground.problem, name, settings) for name in names]
    compared = compare_members(zygote, members, ground, afterwards.verify, Comparison())
    estimates = Estimates(compared, names, settings.confidence)
    rows = [_row(name, reason, estimates, ground) for name, reason in reasons.items()]
    strongest = fastest([row.timing for row in rows if row.timing is not None]).member
    assert compared.conditions is not None
    return Baselines(
        problem=ground.problem.name,
        dtype=ground.draw.dtype,
        dims=dict(ground.draw.dims),
        mode=settings.device,
        strongest=next(name for name in names if name == strongest),
        baselines=rows,
        eager_bytes=ground.eager.bytes_touched,
        floor=floor_of(ground, compared.calls),
        conditions=compared.conditions,
        samples=raw(compared),
        seconds=time.monotonic() - began_s,
    )


def floor_of(ground: Ground, calls: int, *, again: bool = False) -> Floor:
    """Return the floor of a call in series of 2N; `again` measures the machine's roofs anew."""
    draw = ground.draw
    return physical_floor(ground.problem, draw.dims, draw.dtype, ground.footprint(2 * calls), ground.roofs(again=again))


def _reason(zygote: Zygote, name: BaselineName, ground: Ground) -> str | None:
    found = absent(name, ground.settings.device)
    return found or first_calls(zygote, baseline_member(ground.problem, name, ground.settings), ground)


def _row(name: BaselineName, reason: str | None, estimates: Estimates, ground: Ground) -> BaselineTiming:
    if reason is not None:
        return BaselineTiming(name=name, available=False, reason=reason)
    timing = estimates.member(name)
    pathological = name == "eager" and ground.eager.pathological(
        timing.call_s.estimate, ground.roofs(), ground.draw.dtype
    )
    return BaselineTiming(
        name=name,
        available=True,
        reason=None,
        timing=timing,
        against_eager=None if name == "eager" else estimates.ratio("eager", name),
        pathological=pathological,
    )
