"""Put a candidate before the judge and before its clock: what command line, workload, replay and agents' tools share.

Nothing is decided here. `Verification` and `Timing` are the judge's; this module finds the case, reads the candidate,
and keeps what came out in the form that artifacts and archives have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from joulegrid.cases.catalog import case_folder
from joulegrid.cases.explore import require_torch
from joulegrid.cases.judged import PASSED, JudgedPoint
from joulegrid.cases.manifest import read_manifest, read_problem
from joulegrid.cases.variant import Correctness, Latency, Memory, VariantMetrics, Wrong, throughput_of
from joulegrid.errors import UsageError
from joulegrid.kernels.scores import roof_score
from joulegrid.kernels.shapes import checked_dtype, shape_named

if TYPE_CHECKING:
    from joulegrid.kernels.judge.candidate import Candidate
    from joulegrid.kernels.judge.verdict import Verification
    from joulegrid.kernels.judge.zygote import Zygote
    from joulegrid.kernels.problem import Problem, Shape
    from joulegrid.kernels.timing.energy import EnergyProbe
    from joulegrid.kernels.timing.result import Baselines, Timing, TimingSettings

Device = Literal["cpu", "cuda"]
CLOCK = "judge's clock around series of N and 2N calls; interval by bootstrap over fresh processes"


@dataclass(frozen=True, slots=True)
class Subject:
    """One candidate for one case on one shape in one dtype."""

    problem: Problem
    folder: Path
    """The case's."""
    candidate: Candidate
    shape: Shape
    shape_name: str
    dtype: str
    device: Device = "cpu"

    @property
    def case_files(self) -> dict[str, bytes]:
        """The files that make the case what it is, by their path in its folder."""
        provider = (self.problem.weights.provider or "").partition(":")[0]
        names = ["manifest.yaml", read_manifest(self.folder).module.file, *([provider] if provider else [])]
        return {name: (self.folder / name).read_bytes() for name in names}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a subject: the verdict, and where it was timed the times."""

    subject: Subject
    verification: Verification
    timing: Timing | None = None

    @property
    def verdict(self) -> str:
        """The verification's verdict, or where that passed the timing's, which looks at outputs again."""
        if self.timing is None or self.verification.verdict != PASSED:
            return str(self.verification.verdict)
        return str(self.timing.verdict)

    @property
    def passed(self) -> bool:
        """Whether nothing spoke against the candidate."""
        return self.verdict == PASSED


def subject(case: str | Path, candidate: str | Path, shape: str, dtype: str | None, device: Device = "cpu") -> Subject:
    """Find a case and read a candidate; `UsageError` names what is wrong with either."""
    require_torch()
    from joulegrid.kernels.judge.candidate import read_candidate

    folder = case_folder(str(case))
    problem = read_problem(folder)
    return Subject(
        problem,
        folder,
        read_candidate(Path(candidate)),
        shape_named(problem, shape),
        shape,
        checked_dtype(problem, dtype),
        device,
    )


def verified(
    problem: Problem,
    candidate: Candidate,
    dtype: str,
    seeds: Sequence[int] | None = None,
    *,
    zygote: Zygote,
) -> Verification:
    """Have a candidate verified in one dtype on the zygote's device; `seeds` repeat an earlier verification's draws."""
    from joulegrid.kernels.judge.verify import Settings, verify

    return verify(problem, candidate, Settings(device=zygote.device, dtypes=(dtype,)), seeds=seeds, zygote=zygote)


@contextmanager
def open_zygote(device: Device) -> Iterator[Zygote]:
    """Start the process that candidates are forked from, some 2 s; it ends with the block. `PreFlightError` without."""
    require_torch()
    from joulegrid.kernels.judge.zygote import Zygote

    with Zygote(device) as zygote:
        yield zygote


def timed(
    judged: Subject, *, zygote: Zygote, settings: TimingSettings | None = None, probe: EnergyProbe | None = None
) -> Judgement:
    """Have a candidate verified, and where it passed timed against every baseline; a probe gets energy windows.

    `settings` are those of `timing_settings` for the subject's shape, dtype and device.

    A Triton candidate has no speed without a GPU: then nothing is timed.
    """
    verification = verified(judged.problem, judged.candidate, judged.dtype, zygote=zygote)
    if verification.verdict != PASSED or verification.mode == "interpreter":
        return Judgement(judged, verification)
    from joulegrid.kernels.timing.timing import time_candidate

    settings = settings or timing_settings(judged.shape, judged.dtype, judged.device)
    return Judgement(judged, verification, time_candidate(judged.problem, judged.candidate, settings, probe=probe))


def baselines_of(case: str | Path, shape: str, dtype: str | None, device: Device) -> Baselines:
    """Time the unmodified module of a case in every way that this machine can run it."""
    require_torch()
    from joulegrid.kernels.timing.timing import time_baselines

    problem = read_problem(case_folder(str(case)))
    settings = timing_settings(shape_named(problem, shape), checked_dtype(problem, dtype), device)
    return time_baselines(problem, settings)


def timing_settings(shape: Shape, dtype: str, device: Device, **effort: float) -> TimingSettings:
    """Return the clock's settings for one shape in one dtype; `effort` are others of their fields."""
    from joulegrid.kernels.timing.result import TimingSettings

    return TimingSettings.model_validate({"device": device, "dims": dict(shape.dims), "dtype": dtype, **effort})


def judged_point(judgement: Judgement) -> JudgedPoint:
    """Return the few numbers of a judgement; those of speed only where it passed and was timed."""
    subject, verification = judgement.subject, judgement.verification
    return JudgedPoint(
        shape=subject.shape_name,
        dims=dict(subject.shape.dims),
        dtype=subject.dtype,
        weight=subject.shape.weight,
        device=subject.device,
        mode=verification.mode,
        verdict=judgement.verdict,
        draws=len(verification.draws),
        seeds=list(verification.seeds),
        **(_speed(judgement.timing) if judgement.passed and judgement.timing is not None else {}),
    )


def metrics_of(judgement: Judgement, label: str) -> VariantMetrics:
    """Return a judgement in the form of `metrics.json`, `trust: isolated`."""
    from joulegrid.kernels.device import device_name

    subject, timing = judgement.subject, judgement.timing
    problem, dims = subject.problem, subject.shape.dims
    latency = memory = throughput = None
    if timing is not None and judgement.passed:
        member = next(one for one in timing.members if one.member == "candidate")
        call_s = member.call_s
        low, middle, high = (value * 1e6 for value in (call_s.low, call_s.estimate, call_s.high))
        latency = Latency(median_us=middle, low_us=low, high_us=high, calls=timing.verified_calls, clock=CLOCK)
        throughput = throughput_of(call_s.estimate, problem.bytes_moved(dims, subject.dtype), problem.flops(dims))
        kind = "cuda_allocated" if subject.device == "cuda" else "rss_max"
        memory = Memory(peak_bytes=member.peak_memory_bytes, kind=kind)
    return VariantMetrics(
        case=problem.name,
        fingerprint=problem.fingerprint,
        label=label,
        source=subject.candidate.path.name,
        trust="isolated",
        shape=subject.shape_name,
        dims=dict(dims),
        dtype=subject.dtype,
        seed=None,
        device=subject.device,
        device_name=device_name(subject.device),
        latency=latency,
        throughput=throughput,
        memory=memory,
        correctness=_correctness(judgement),
    )


def point_files(judgement: Judgement, label: str) -> dict[str, bytes]:
    """Return the files of a judgement, name → bytes: verification, timing, metrics."""
    found = {
        "verification.json": _file(judgement.verification.model_dump_json(indent=2)),
        "metrics.json": _file(metrics_of(judgement, label).model_dump_json(indent=2)),
    }
    if judgement.timing is not None:
        found["timing.json"] = _file(judgement.timing.model_dump_json(indent=2))
    return found


def compiled_facts(judged: Subject) -> bytes | None:
    """Return what compiling a Triton candidate ahead of time for an H200 shows; `None` for one in torch.

    A compiler that is missing here is no fault of the candidate: then there are no facts.
    """
    if judged.candidate.language != "triton":
        return None
    from joulegrid.errors import PreFlightError
    from joulegrid.kernels.aot import Call, compile_ahead

    try:
        facts = compile_ahead(judged.candidate.path, judged.problem, [Call(judged.shape, judged.dtype)])
    except PreFlightError:
        return None
    return _file(facts.model_dump_json(indent=2))


def default_shape(problem: Problem, device: Device) -> str:
    """Return the shape that a command takes where none is named: the weightiest on a GPU, on a CPU the lightest."""
    if device == "cuda":
        return max(problem.shapes, key=lambda shape: shape.weight).name
    if not problem.scaled:
        return "tiny"
    lightest = min(problem.scaled, key=lambda shape: problem.flops(shape.dims))
    return f"scaled:{lightest.name}"


def _speed(timing: Timing) -> dict[str, float | str | None]:
    if timing.strongest is None or timing.floor is None:
        raise UsageError("timing: a passed one names its strongest baseline and its floor")
    calls = {one.member: one.call_s.estimate for one in timing.members}
    kernel_s, baseline_s = calls["candidate"], calls[timing.strongest]
    # What lies inside the spread of the baseline against itself is no change, however the ends fell.
    claim = timing.claim if timing.claim is None or timing.change != "no change" else min(timing.claim, 1.0)
    return {
        "speedup": claim,
        "speedup_estimate": timing.ratios[timing.strongest].estimate,
        "baseline": timing.strongest,
        "latency_us": kernel_s * 1e6,
        "roof_score": roof_score(kernel_s, baseline_s, timing.floor.seconds),
    }


def _correctness(judgement: Judgement) -> Correctness:
    verification = judgement.verification
    evidence = list(verification.evidence) or (list(judgement.timing.evidence) if judgement.timing else [])
    wrong = [Wrong(output=-1, measure=one.check, found=one.found, allowed=one.expected) for one in evidence]
    return Correctness(
        passed=judgement.passed,
        verdict=judgement.verdict,
        draws=len(verification.draws),
        wrong=[] if judgement.passed else wrong,
        error=None,
    )


def _file(text: str) -> bytes:
    return f"{text}\n".encode()
