"""Time a candidate against the strongest baseline by the judge's clock, or say why its speed is not said."""

from __future__ import annotations

import time
from typing import Any

from joulegrid.errors import PreFlightError, UsageError
from joulegrid.kernels.judge.candidate import Candidate
from joulegrid.kernels.judge.limits import Limits
from joulegrid.kernels.judge.verdict import CandidateFault, Evidence, Verdict
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.timing.afterwards import CANDIDATE, SAME, Afterwards, WrongAfterTiming
from joulegrid.kernels.timing.baseline_timing import baselines_on, floor_of, time_baselines
from joulegrid.kernels.timing.baselines import baseline_member
from joulegrid.kernels.timing.bootstrap import change
from joulegrid.kernels.timing.comparison import Comparison, compare_members
from joulegrid.kernels.timing.device_clock import disagreement, postponement
from joulegrid.kernels.timing.energy import EnergyProbe, Timed, energy_windows
from joulegrid.kernels.timing.estimates import Estimates, raw
from joulegrid.kernels.timing.ground import Ground, make_ground
from joulegrid.kernels.timing.member import Member
from joulegrid.kernels.timing.result import LAUNCH_BOUND_S, BaselineName, Baselines, Timing, TimingSettings

__all__ = ["candidate_on", "time_baselines", "time_candidate"]


def time_candidate(
    problem: Problem,
    candidate: Candidate,
    settings: TimingSettings | None = None,
    *,
    baselines: Baselines | None = None,
    probe: EnergyProbe | None = None,
) -> Timing:
    """Time a candidate beside the strongest baseline, eager, and the strongest once more (A/A).

    It is not verified here but for what it computes while it is timed: `verify` comes first. `baselines` saves timing
    them again; they must be of the same problem, shape and dtype. With a `probe` joules per call can be had as well.

    Raises:
        UsageError: for a shape or dtype that the problem lacks, or baselines of another one.
        PreFlightError: where the unmodified module does not run here, a baseline that had run before fails, or a Triton
            candidate would have to be interpreted.
    """
    ground = make_ground(problem, settings or TimingSettings())
    with Zygote(ground.settings.device) as zygote:
        return candidate_on(zygote, ground, candidate, baselines=baselines, probe=probe)


def candidate_on(
    zygote: Zygote,
    ground: Ground,
    candidate: Candidate,
    *,
    baselines: Baselines | None = None,
    probe: EnergyProbe | None = None,
) -> Timing:
    """Time a candidate as `time_candidate` does, with a zygote and a ground that serve others as well."""
    began_s = time.monotonic()
    _require_timeable(ground, candidate, baselines)
    if baselines is None and set(ground.settings.baselines) - {"eager"}:
        baselines = baselines_on(zygote, ground)
    run = _Run(ground, candidate, baselines)
    verdict, evidence = run.compare(zygote)
    energy = []
    if probe is not None and verdict is Verdict.PASSED:
        try:
            energy = energy_windows(zygote, run.members(), ground, probe, run.timed())
        except (CandidateFault, WrongAfterTiming) as found:
            verdict, evidence = found.verdict, [found.evidence]
    return run.timing(verdict, evidence, {"energy": energy, "seconds": time.monotonic() - began_s})


def _require_timeable(ground: Ground, candidate: Candidate, baselines: Baselines | None) -> None:
    if candidate.language == "triton" and ground.settings.device == "cpu":
        raise PreFlightError(
            f"{candidate.path} is written in Triton, which is interpreted here: its time would say nothing of a"
            " kernel's; time it on a machine with a GPU"
        )
    wanted = (ground.problem.name, ground.draw.dtype, dict(ground.draw.dims), ground.settings.device)
    if baselines is not None and (baselines.problem, baselines.dtype, baselines.dims, baselines.mode) != wanted:
        given = f"{baselines.problem}, {baselines.dtype}, {baselines.dims}, {baselines.mode}"
        raise UsageError(f"baselines: {given} were given; timed is {', '.join(map(str, wanted))}")


class _Run:
    """One candidate's comparison and what is made of it."""

    def __init__(self, ground: Ground, candidate: Candidate, baselines: Baselines | None) -> None:
        self.ground, self.candidate, self.baselines = ground, candidate, baselines
        self.strongest: BaselineName = baselines.strongest if baselines else "eager"
        self.compared = Comparison()
        self.afterwards = Afterwards(ground.problem, ground.draw, ground.setting.state)

    def members(self) -> list[Member]:
        """Return the candidate, the strongest baseline, and eager where that is another one."""
        problem, settings = self.ground.problem, self.ground.settings
        names = dict.fromkeys((self.strongest, "eager"))
        limits = Limits(threads=settings.threads)
        own = Member(CANDIDATE, self.candidate, limits, trusted=False)
        return [own, *(baseline_member(problem, name, settings) for name in names)]

    def compare(self, zygote: Zygote) -> tuple[Verdict, list[Evidence]]:
        """Time all of them; the verdict is that of the timing alone."""
        again = baseline_member(self.ground.problem, self.strongest, self.ground.settings, SAME)
        try:
            compare_members(zygote, [*self.members(), again], self.ground, self.afterwards.verify, self.compared)
        except (CandidateFault, WrongAfterTiming) as found:
            return found.verdict, [found.evidence]
        for odd in (disagreement(self.compared.samples, CANDIDATE), postponement(self.compared.samples, CANDIDATE)):
            if odd is not None:
                return Verdict.TAMPERING, [odd]
        return self._physical()

    def _physical(self) -> tuple[Verdict, list[Evidence]]:
        """Refuse what no kernel could do on this machine; its roofs are measured once more before that is said."""
        call_s = self.estimates().member(CANDIDATE).call_s.high
        for again in (False, True):
            floor = floor_of(self.ground, self.compared.calls, again=again)
            if not floor.impossible(call_s):
                return Verdict.PASSED, []
        found = f"{call_s * 1e6:.3g} µs"
        expected = f"{floor.margin * floor.seconds * 1e6:.3g} µs at least ({floor.bound})"
        advice = "every call must read its inputs and write its outputs; see the floor's bytes and operations"
        return Verdict.TOO_FAST, [
            Evidence(check="physical floor", where="time per call", expected=expected, found=found, advice=advice)
        ]

    def estimates(self) -> Estimates:
        """Return what the samples say."""
        trusted = dict.fromkeys((self.strongest, "eager", SAME))
        return Estimates(self.compared, list(trusted), self.ground.settings.confidence)

    def timed(self) -> Timed:
        """Return what an energy window is held against."""
        estimates = self.estimates()
        means = {one.name: estimates.mean_call_s(one.name) for one in self.members()}
        return Timed(self.compared.calls, means, estimates.channel_ns() / 1e9)

    def timing(self, verdict: Verdict, evidence: list[Evidence], more: dict[str, Any]) -> Timing:
        """Return the result; speed only where it passed."""
        ground, compared = self.ground, self.compared
        return Timing(
            problem=ground.problem.name,
            candidate_sha256=self.candidate.sha256,
            dtype=ground.draw.dtype,
            dims=dict(ground.draw.dims),
            mode=ground.settings.device,
            verdict=verdict,
            evidence=evidence,
            calls=compared.calls or None,
            processes=compared.processes,
            inputs=self._inputs() if compared.calls else None,
            strongest=self.strongest,
            floor=floor_of(ground, compared.calls) if compared.calls else None,
            verified_calls=self.afterwards.compared,
            baselines=list(self.baselines.baselines) if self.baselines else [],
            conditions=compared.conditions,
            samples=raw(compared),
            **(self._speed() if verdict is Verdict.PASSED else {}),
            **more,
        )

    def _speed(self) -> dict[str, Any]:
        estimates = self.estimates()
        ratios = {name: estimates.ratio(name, CANDIDATE) for name in dict.fromkeys((self.strongest, "eager"))}
        same = estimates.ratio(self.strongest, SAME)
        members = estimates.members()
        candidate = next(member for member in members if member.member == CANDIDATE)
        return {
            "members": members,
            "ratios": ratios,
            "same": same,
            "claim": ratios[self.strongest].low,
            "change": change(ratios[self.strongest].bounds, same.bounds),
            "launch_bound": candidate.call_s.estimate < LAUNCH_BOUND_S,
        }

    def _inputs(self) -> str:
        calls = 2 * self.compared.calls
        size, cache = calls * self.ground.set_bytes, floor_of(self.ground, self.compared.calls).roofs.cache_bytes
        within = "an unknown cache" if cache is None else f"the last-level cache of {cache} bytes"
        relation = "beside" if cache is None else "more than" if size > cache else "within"
        flushed = "; the cache is flushed before each call, and flushes alone are taken off"
        told = f"{calls} sets in a series, never seen before, {size} bytes: {relation} {within}"
        return told + (flushed if self.compared.flush else "")
