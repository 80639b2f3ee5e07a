"""The workload `kernel`: judge one candidate against the module of a case, and where it passed, time it.

A kernel that is wrong is a result: the task is done, `verdict` says what was wrong, and there are no numbers of speed.
Everything that the judge and its clock found lies in `artifacts/kernel/` beside the result, as an archive wants it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from joulegrid.cases.catalog import case_folder
from joulegrid.cases.contract import (
    Difference,
    Estimate,
    ExperimentConfig,
    Ignored,
    Input,
    LaneCannotError,
    Measurement,
    Places,
    Probe,
    Rule,
    Section,
)
from joulegrid.cases.manifest import read_problem
from joulegrid.errors import UsageError
from joulegrid.kernels.shapes import checked_dtype, shape_named

if TYPE_CHECKING:
    from joulegrid.cases.judging import Judgement, Subject
    from joulegrid.kernels.judge.zygote import Zygote
    from joulegrid.kernels.timing.result import Timing

Step = Literal["verify", "time"]
CALL = "call"
FILLED_CALL = "call_and_its_inputs"
"""What a window of calls produces; joules of a call alone are a difference."""
CANDIDATE = "candidate"
FOLDER = "kernel"
"""Below `artifacts`."""
_ORDER: tuple[Step, ...] = ("verify", "time")
_HANDWRITTEN = "handwritten"


class KernelParams(Section):
    """Which candidate is judged, on what, and how far."""

    case: str = Field(min_length=1)
    """Name of a case, or a folder with a manifest."""
    candidate: str = Field(min_length=1)
    """The candidate's file, absolute or relative to the study's folder; `handwritten`: Joulegrid's own for the case."""
    shape: str = Field(default="tiny", min_length=1)
    """Shape that is timed: `tiny`, one of the case's, or `scaled:NAME`. Verification has shapes of its own."""
    dtype: str | None = None
    """`fp32`, `fp16` or `bf16`; null takes the case's first."""
    steps: tuple[Step, ...] = _ORDER
    """`verify` alone, or `verify` and `time`; what did not pass is never timed."""
    processes: int = Field(default=5, ge=5)
    """Sets of fresh processes that are timed at least."""
    precision: float = Field(default=0.02, gt=0)
    """Half-width of the ratios' intervals at which no further processes are timed, within 90 s a comparison."""
    energy: bool = False
    """Repeat the candidate's calls in windows that are long enough for its joules."""

    @field_validator("steps")
    @classmethod
    def _verified_first(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        if "verify" not in steps or len(set(steps)) < len(steps):
            raise ValueError("steps: give [verify] or [verify, time]; nothing is timed that was not verified")
        return tuple(step for step in _ORDER if step in steps)


class KernelConfig(ExperimentConfig):
    """An experiment of the workload `kernel`."""

    workload: Literal["kernel"] = "kernel"
    """The code that a task runs."""
    kernel: KernelParams
    """Case, candidate, shape and dtype."""


def _has(case: str, shape: str, dtype: str | None) -> str | None:
    """Refuse points of a grid whose case has no such shape or dtype; an unknown case is an error of `inputs`."""
    try:
        problem = read_problem(case_folder(case))
    except UsageError:
        return None
    try:
        shape_named(problem, shape)
        checked_dtype(problem, dtype)
    except UsageError as error:
        return str(error)
    return None


def _one_gpu(gpus: int | None) -> str | None:
    return f"gpus {gpus}: a kernel runs on one GPU" if gpus is not None and gpus > 1 else None


class Kernel:
    """Judge and time one candidate (`KernelConfig`)."""

    name = "kernel"
    revision = 1
    Config: type[ExperimentConfig] = KernelConfig
    rules: tuple[Rule, ...] = (
        Rule(("kernel.case", "kernel.shape", "kernel.dtype"), _has),
        Rule(("resources.gpus",), _one_gpu),
    )
    ignored: tuple[Ignored, ...] = (
        Ignored(
            ("kernel.processes", "kernel.precision", "kernel.energy"),
            ("kernel.steps",),
            lambda steps: "time" not in steps,
        ),
    )
    input_fields: tuple[str, ...] = ("kernel.case", "kernel.candidate")

    def __init__(self, zygote: Zygote | None = None) -> None:
        """Fork candidates from a zygote that is open already; by default each task has one of its own."""
        self._zygote = zygote

    def preload(self, config: ExperimentConfig) -> tuple[str, ...]:
        """Return what the judge's side needs; the candidate's side has a zygote of its own."""
        return ("torch", "joulegrid.kernels.judge.verify", "joulegrid.kernels.timing.timing")

    def inputs(self, config: ExperimentConfig, places: Places) -> dict[str, Input]:
        """Fingerprint case and candidate by their content; `UsageError` where one is missing or is none."""
        params = _own(config).kernel
        folder = _case(params.case, places)
        problem, candidate = read_problem(folder), _candidate_file(params, places, read_problem(folder).name)
        digest = f"sha256:{sha256(candidate.read_bytes()).hexdigest()}"
        return {
            "kernel.case": Input(f"case:{problem.fingerprint}", f"{folder}#{problem.fingerprint}"),
            "kernel.candidate": Input(digest, str(candidate)),
        }

    def estimate(self, config: ExperimentConfig, places: Places) -> Estimate:
        """Nothing is known before it ran; a verification takes seconds, a timing a minute."""
        return Estimate(memory_bytes=None, least_seconds=0.0)

    def run(self, config: ExperimentConfig, inputs: Mapping[str, str], probe: Probe) -> Measurement:
        """Verify, then time what passed. `LaneCannotError` for what the lane cannot do."""
        from joulegrid.cases.judging import open_zygote

        params = _own(config).kernel
        subject = _subject(params, inputs, probe)
        probe.progress(0, 1, "judging")
        with nullcontext(self._zygote) if self._zygote is not None else open_zygote(subject.device) as zygote:
            judgement = _judged(subject, params, probe, zygote)
        _keep(judgement, probe.scratch / "artifacts" / FOLDER)
        return _measurement(judgement, params.candidate)


def _judged(subject: Subject, params: KernelParams, probe: Probe, zygote: Zygote) -> Judgement:
    from joulegrid.cases.judging import Judgement, timed, timing_settings, verified

    if "time" in params.steps:
        effort = {"processes": params.processes, "precision": params.precision}
        settings = timing_settings(subject.shape, subject.dtype, subject.device, **effort)
        return timed(subject, zygote=zygote, settings=settings, probe=probe if params.energy else None)
    return Judgement(subject, verified(subject.problem, subject.candidate, subject.dtype, zygote=zygote))


def _own(config: ExperimentConfig) -> KernelConfig:
    assert isinstance(config, KernelConfig), f"{type(config).__name__} is not an experiment of the workload kernel"
    return config


def _case(name: str, places: Places) -> Path:
    """A case by name, or by a folder relative to the study."""
    near = places.file(name)
    return near.resolve() if (near / "manifest.yaml").is_file() else case_folder(name)


def _candidate_file(params: KernelParams, places: Places, case: str) -> Path:
    from joulegrid.kernels.judge.candidate import read_candidate
    from joulegrid.kernels.shipped import handwritten

    if params.candidate == _HANDWRITTEN:
        found = handwritten()
        if case not in found:
            raise UsageError(f"kernel.candidate: {case} has no hand-written one; there are {', '.join(found)}")
        return found[case]
    path = places.file(params.candidate)
    try:
        read_candidate(path)
    except UsageError as error:
        raise UsageError(f"kernel.candidate: {error}") from error
    return path.resolve()


def _subject(params: KernelParams, inputs: Mapping[str, str], probe: Probe) -> Subject:
    from joulegrid.cases.judging import subject

    folder, _, fingerprint = inputs["kernel.case"].rpartition("#")
    device: Literal["cpu", "cuda"] = "cuda" if probe.lane.device == "cuda" else "cpu"
    found = subject(folder, inputs["kernel.candidate"], params.shape, params.dtype, device)
    if found.problem.fingerprint != fingerprint:
        raise LaneCannotError(f"kernel.case: {folder} has changed since the study was planned; start the study again")
    _refuse(found)
    return found


def _refuse(found: Subject) -> None:
    """Say what this lane cannot do before a minute is spent on it."""
    from joulegrid.kernels.device import refusal
    from joulegrid.kernels.interpret import refusal as interpreter_refusal

    reason = refusal(found.dtype, found.device)
    if reason is None and found.device == "cpu" and found.candidate.language == "triton":
        reason = interpreter_refusal()
    if reason is not None:
        raise LaneCannotError(reason)


def _keep(judgement: Judgement, folder: Path) -> None:
    """Write what an archive is made of beside the result."""
    from joulegrid.cases.judging import compiled_facts, judged_point, point_files

    subject = judgement.subject
    files = point_files(judgement, subject.candidate.path.stem)
    files |= {"point.json": judged_point(judgement).model_dump_json(indent=2).encode()}
    files |= {"candidate.py": subject.candidate.path.read_bytes()}
    files |= {f"case/{name}": data for name, data in subject.case_files.items()}
    facts = compiled_facts(subject)
    files |= {"aot.json": facts} if facts is not None else {}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _measurement(judgement: Judgement, candidate: str) -> Measurement:
    from joulegrid.cases.judging import judged_point
    from joulegrid.kernels.device import device_name

    subject, verification = judgement.subject, judgement.verification
    point = judged_point(judgement)
    metrics: dict[str, Any] = {"verdict": point.verdict, "case": subject.problem.name}
    metrics |= {"speedup": point.speedup, "latency_us": point.latency_us, "roof_score": point.roof_score}
    metrics |= {"change": judgement.timing.change if judgement.timing is not None else None}
    metrics |= {"against": point.baseline, "candidate": candidate}
    metrics |= {"evidence": _evidence(judgement), "mode": verification.mode, "shape": subject.shape_name}
    metrics |= {"dtype": subject.dtype, "speedup_estimate": point.speedup_estimate}
    metrics |= {"shape_weight": subject.shape.weight, "draws": point.draws, "verify_s": verification.seconds}
    metrics |= {"energy_disagrees": _disagreeing(judgement)}
    effective = {
        "case": subject.problem.name,
        "fingerprint": subject.problem.fingerprint,
        "candidate": candidate,
        "candidate_sha256": subject.candidate.sha256,
        "language": subject.candidate.language,
        "dtype": subject.dtype,
        "dims": dict(subject.shape.dims),
        "device": device_name(subject.device),
    }
    energy = _energy(judgement.timing) if judgement.passed and judgement.timing is not None else {}
    known = {name: value for name, value in metrics.items() if value is not None}
    return Measurement(known, effective=effective, **energy)


def _disagreeing(judgement: Judgement) -> str | None:
    """Windows in which a call took another time than when it was timed: joules of a call say nothing there."""
    timing = judgement.timing if judgement.passed else None
    names = [one.name for one in timing.energy if one.agrees is False] if timing is not None else []
    return ", ".join(names) or None


def _evidence(judgement: Judgement) -> str | None:
    timing = judgement.timing
    evidence = [*judgement.verification.evidence, *(timing.evidence if timing is not None else ())]
    return None if judgement.passed or not evidence else f"{evidence[0].check}: {evidence[0].found}"


def _energy(timing: Timing) -> dict[str, Any]:
    """The candidate's calls as the headline; a call alone by difference, because filling in its inputs costs, too."""
    calls = {one.member: one for one in timing.energy if one.part == "calls"}
    fills = {one.member: one for one in timing.energy if one.part == "inputs"}
    if CANDIDATE not in calls:
        return {}
    return {
        "headline": calls[CANDIDATE].name,
        "work": {FILLED_CALL: float(calls[CANDIDATE].series * calls[CANDIDATE].calls)},
        "work_of": {one.name: {FILLED_CALL: float(one.series * one.calls)} for one in calls.values()},
        "differences": tuple(
            Difference(f"{member} {CALL}", one.name, fills[member].name, CALL, float(one.calls))
            for member, one in calls.items()
            if member in fills
        ),
    }
