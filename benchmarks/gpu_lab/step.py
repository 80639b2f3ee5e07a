"""Do one step in this process and write what came of it: `python -m benchmarks.gpu_lab.step ORDER.json ANSWER.json`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, Literal

from benchmarks.gpu_lab.plan import Step, shapes_of
from benchmarks.gpu_lab.smoke import FAULTS, Subject, asked
from benchmarks.kernel_timer import itself
from joulegrid.cases.catalog import case_folder
from joulegrid.cases.manifest import read_problem
from joulegrid.jobs.kernel_energy import MeterProbe
from joulegrid.kernels.judge.candidate import Candidate, read_candidate
from joulegrid.kernels.judge.limits import Checks, Limits
from joulegrid.kernels.judge.settings import Settings
from joulegrid.kernels.judge.verify import verify
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.shipped import handwritten
from joulegrid.kernels.timing.baseline_timing import baselines_on
from joulegrid.kernels.timing.ground import Ground, make_ground
from joulegrid.kernels.timing.result import MemberTiming, Timing, TimingSettings
from joulegrid.kernels.timing.timing import candidate_on

Device = Literal["cpu", "cuda"]
WALK = {"pairs": 2, "series_s": 0.001, "warm_up_s": 0.0, "most_calls": 4, "oracle_samples": 1, "energy_s": 0.05}
"""On a CPU the steps are walked through; their figures mean nothing."""
ATTACK_TIMEOUT_S = 20.0


def main() -> None:
    """Read the order, do it, write the answer; a failure is an answer."""
    order, answer = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    step, began_s = Step(**order["step"]), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = done(step, order, Path(folder))
        except FAULTS as error:
            found = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    answer.write_text(json.dumps({**found, "seconds": round(time.monotonic() - began_s, 1)}, default=str))


def done(step: Step, order: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Do one step; return what the results keep of it."""
    problem, device = read_problem(case_folder(step.case)), order["device"]
    settings = settings_of(problem, step, order)
    candidate = candidate_of(problem, device, folder)
    if step.kind == "smoke":
        return {"questions": asked(Subject(problem, candidate, settings))}
    with Zygote(device) as zygote:
        if step.kind == "attack":
            return attacked(problem, step, zygote)
        ground = make_ground(problem, settings)
        if step.kind == "same":
            return figures_of(candidate_on(zygote, ground, itself(problem, folder)), ground)
        return measured(zygote, ground, candidate, order)


def settings_of(problem: Problem, step: Step, order: dict[str, Any]) -> TimingSettings:
    """Return how a step is timed."""
    shapes = {shape.name: shape for shape in shapes_of(problem, order["device"])}
    dims = dict(shapes[step.shape].dims) if step.shape in shapes else dict(problem.tiny.dims)
    chosen: dict[str, Any] = {"device": order["device"], "dims": dims, "dtype": step.dtype}
    if step.kind == "same" or order["device"] == "cpu":
        chosen["baselines"] = ("eager",)
    chosen |= WALK if order["device"] == "cpu" else {"pairs": order["pairs"], "energy_s": order["energy_s"] or 1.0}
    return TimingSettings(**chosen)


def candidate_of(problem: Problem, device: Device, folder: Path) -> Candidate:
    """Return the case's hand-written kernel; on a CPU, where Triton has no speed, the module itself."""
    return read_candidate(handwritten()[problem.name]) if device == "cuda" else itself(problem, folder)


def attacked(problem: Problem, step: Step, zygote: Zygote) -> dict[str, Any]:
    """Hold an attack against the judge with and without its gate; what passes both is timed."""
    candidate = read_candidate(Path(step.file))
    limits, dtypes = Limits(call_timeout_s=ATTACK_TIMEOUT_S), (step.dtype,)
    gated = verify(problem, candidate, Settings(device=zygote.device, dtypes=dtypes, limits=limits), zygote=zygote)
    open_ = Settings(device=zygote.device, dtypes=dtypes, limits=limits, checks=Checks().without("static_gate"))
    found = verify(problem, candidate, open_, zygote=zygote)
    told: dict[str, Any] = {"with_gate": gated.verdict, "without_gate": found.verdict}
    told["evidence"] = [one.model_dump(mode="json") for one in found.evidence]
    if found.passed and zygote.device == "cuda":
        shape = shapes_of(problem, "cuda")[0]
        settings = TimingSettings(device="cuda", dims=dict(shape.dims), dtype=step.dtype, baselines=("eager",), pairs=2)
        told["timed"] = figures_of(candidate_on(zygote, ground := make_ground(problem, settings), candidate), ground)
    return told


def measured(zygote: Zygote, ground: Ground, candidate: Candidate, order: dict[str, Any]) -> dict[str, Any]:
    """Verify a kernel, time every baseline, time it, and take its joules."""
    dtype = ground.draw.dtype
    verification = verify(ground.problem, candidate, Settings(device=zygote.device, dtypes=(dtype,)), zygote=zygote)
    told = {"verification": verification.verdict, "verification_s": verification.seconds}
    if not verification.passed:
        return told | {"evidence": [one.model_dump(mode="json") for one in verification.evidence]}
    baselines = baselines_on(zygote, ground) if len(ground.settings.baselines) > 1 else None
    probe = MeterProbe(ground.settings.device) if order["energy_s"] else None
    timing = candidate_on(zygote, ground, candidate, baselines=baselines, probe=probe)
    spent = probe.call_energy(timing) if probe is not None and timing.energy else None
    energy = None if spent is None else spent.model_dump(mode="json")
    return {**told, **figures_of(timing, ground), "energy": energy, "launches": verification.launches}


def figures_of(timing: Timing, ground: Ground) -> dict[str, Any]:
    """Return what is kept of a timing: no raw series, but its intervals, counts and conditions."""
    floor = timing.floor
    members = {one.member: _member(one) for one in timing.members}
    members |= {one.name: _member(one.timing) for one in timing.baselines if one.timing and one.name not in members}
    candidate = next((one for one in timing.members if one.member == "candidate"), None)
    return {
        "verdict": timing.verdict,
        "evidence": [one.model_dump(mode="json") for one in timing.evidence],
        "dims": timing.dims,
        "claim": timing.claim,
        "change": timing.change,
        "strongest": timing.strongest,
        "ratios": {name: one.model_dump() for name, one in timing.ratios.items()},
        "same": timing.same and timing.same.model_dump(),
        "launch_bound": timing.launch_bound,
        "members": members,
        "missing": {one.name: one.reason for one in timing.baselines if not one.available},
        "roof_share": None if candidate is None or floor is None else floor.share(candidate.call_s.estimate),
        "floor": floor and floor.model_dump(),
        "calls": timing.calls,
        "processes": timing.processes,
        "pairs": len({one.pair for one in timing.samples}),
        "inputs": timing.inputs,
        "memory_bytes": ground.settings.memory_bytes,
        "conditions": timing.conditions and timing.conditions.model_dump(),
    }


def _member(timing: MemberTiming) -> dict[str, Any]:
    return {"call_s": timing.call_s.model_dump(), "device_s": timing.device_s, "first_call_s": timing.first_call_s}


if __name__ == "__main__":
    main()
