"""Verify one candidate against one problem: fresh draws, hidden shapes, changing weights, and every check of `Checks`.

The reference and its oracle are evaluated here, in the judge; the candidate sees arguments and weights alone, in a
child of its own for each dtype.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from joulegrid.errors import UsageError
from joulegrid.kernels.criterion import Expectation
from joulegrid.kernels.device import single_threaded
from joulegrid.kernels.judge import findings
from joulegrid.kernels.judge.candidate import Candidate
from joulegrid.kernels.judge.draw_plan import LEAST_DRAWS, PlannedDraw, planned_draws
from joulegrid.kernels.judge.limits import Checks, Limits
from joulegrid.kernels.judge.session import Observe, Outcome, Session, open_session
from joulegrid.kernels.judge.static_gate import refusals
from joulegrid.kernels.judge.verdict import CandidateFault, DrawRecord, Evidence, Refusal, Verdict, Verification
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.module import call, flat_tensors, map_tensors
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.trial import Trial, make_trial

Mode = Literal["cpu", "interpreter", "cuda"]
REPEATS = {"cpu": 2, "interpreter": 1, "cuda": 19}
"""How often the first draw on each shape is repeated, apart from its first call."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a verification is done; the defaults are those for the record."""

    device: Literal["cpu", "cuda"] = "cpu"
    dtypes: tuple[str, ...] | None = None
    """Some of the problem's; all by default."""
    draws: int = LEAST_DRAWS
    """For each dtype."""
    checks: Checks = Checks()
    limits: Limits = Limits()
    proxy_dtypes: Mapping[str, str] = field(default_factory=lambda: {"bf16": "fp16"})
    """What Triton's interpreter judges in the place of a dtype whose arithmetic it gets wrong."""


@dataclass(slots=True)
class _Course:
    """What has been seen so far."""

    draws: list[DrawRecord] = field(default_factory=list)
    launches: dict[str, int] = field(default_factory=dict)
    operators: dict[str, int] = field(default_factory=dict)
    isolation: dict[str, Any] = field(default_factory=dict)


def verify(
    problem: Problem,
    candidate: Candidate,
    settings: Settings | None = None,
    *,
    seeds: Sequence[int] | None = None,
    zygote: Zygote | None = None,
) -> Verification:
    """Judge a candidate; its faults are the result, never an exception.

    `seeds`, one for each dtype, repeat an earlier verification; without them they are drawn from the system's entropy.

    Raises:
        UsageError: dtypes, seeds or the case itself are wrong.
        PreFlightError: no child can be had here.
    """
    settings = settings or Settings()
    started = time.monotonic()
    dtypes, used = _dtypes(problem, settings), _seeds(problem, settings, seeds)
    course = _Course()
    evidence: Evidence | None
    gate = tuple(refusals(candidate)) if settings.checks.static_gate and candidate.syntax_error is None else ()
    try:
        _require_readable(candidate, gate)
        with _zygote(zygote, settings) as open_zygote, single_threaded():
            for dtype, seed in zip(dtypes, used, strict=True):
                _Judgement(problem, candidate, settings, course).judge(open_zygote, dtype, seed)
        verdict, evidence = Verdict.PASSED, None
    except CandidateFault as fault:
        verdict, evidence = fault.verdict, fault.evidence
    mode = _mode(candidate, settings)
    return Verification(
        case=problem.name,
        case_fingerprint=problem.fingerprint,
        candidate_sha256=candidate.sha256,
        language=candidate.language,
        verdict=verdict,
        evidence=() if evidence is None else (evidence,),
        gate=gate,
        draws=tuple(course.draws),
        seeds=tuple(used),
        checks_off=tuple(name for name in Checks.names() if not getattr(settings.checks, name)),
        isolation=course.isolation,
        launches=course.launches,
        operators=course.operators,
        passthrough=candidate.passthrough,
        proxy_dtype={
            one: _proxy(candidate, settings, one) for one in dtypes if _proxy(candidate, settings, one) != one
        },
        mode=mode,
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True, slots=True)
class _Tried:
    """One draw that was called: what is expected is worth keeping, since the null ensemble takes a while."""

    planned: PlannedDraw
    trial: Trial
    expected: list[Expectation]
    outcome: Outcome


@dataclass(slots=True)
class _Judgement:
    """One dtype of one verification, in one child."""

    problem: Problem
    candidate: Candidate
    settings: Settings
    course: _Course
    calls: int = 0

    def judge(self, zygote: Zygote, dtype: str, seed: int) -> None:
        """Try all draws of a dtype; `CandidateFault` at the first that fails."""
        settings = self.settings
        judged = _proxy(self.candidate, settings, dtype)
        plan = planned_draws(self.problem, judged, seed, settings.draws, settings.checks)
        limits = settings.limits.on(settings.device)
        with open_session(zygote, self.candidate, limits, freeze=settings.checks.freeze) as session:
            self.course.isolation = dict(session.facts)
            for _, group in itertools.groupby(plan, lambda planned: planned.group):
                self._judge_shape(session, list(group))

    def _judge_shape(self, session: Session, plan: list[PlannedDraw]) -> None:
        checks = self.settings.checks
        first: _Tried | None = None
        for place, planned in enumerate(plan):
            trial = self._trial(planned, None if first is None or checks.fresh_weights else first.trial.state)
            if place == 0:
                self._build(session, trial)
            if place == 0 or checks.fresh_weights:
                session.load(trial.state, mutate=place > 0)
            tried = self._try(session, planned, trial)
            first = first or tried
        assert first is not None
        self._repeat(session, first)
        if self.candidate.language == "triton" and checks.decoy:
            self._try_without_kernels(session, first)

    def _trial(self, planned: PlannedDraw, state: Any) -> Trial:
        draw = replace(planned.draw, device=self.settings.device)
        trial = make_trial(self.problem, draw)
        if state is None:
            return trial
        eager = call(trial.module(state), map_tensors(trial.inputs, lambda tensor: tensor.clone()))
        from joulegrid.kernels.double import oracle_module, oracle_outputs

        oracle = oracle_outputs(oracle_module(self.problem, trial.init, state), trial.inputs)
        return replace(trial, state=state, eager=eager, oracle=oracle)

    def _build(self, session: Session, trial: Trial) -> None:
        """Construct the module; its state must have the reference's names and shapes."""
        found = {name: tuple(shape) for name, shape, _ in session.build(trial.init, trial.draw.dtype)}
        wanted = {name: tuple(value.shape) for name, value in trial.initial_state.items()}
        if found != wanted:
            raise CandidateFault(
                Verdict.RUNTIME_ERROR,
                Evidence(
                    check="protocol", where="in the constructor", expected=f"a state_dict of {_shapes(wanted)}",
                    found=_shapes(found), advice="name parameters and buffers as the reference does",
                ),
            )  # fmt: skip

    def _try(self, session: Session, planned: PlannedDraw, trial: Trial) -> _Tried:
        """One draw: call, look at memory, language and values."""
        checks, where = self.settings.checks, _where(planned)
        watched = checks.dispatch_log or checks.provenance or checks.poison or checks.guards
        observe = Observe(operators=watched, poison=checks.poison, guards=checks.guards)
        outcome = session.call(trial.inputs, flat_tensors(trial.eager), observe)
        self._record(planned, outcome)
        findings.require_untouched(outcome, checks, where, _aliases_of_reference(trial) if outcome.aliases else ())
        if self.candidate.language == "triton":
            findings.require_language(outcome, self.candidate.passthrough, checks, where)
        expected = trial.expectations()
        findings.require_values(outcome, findings.structure_of(trial.eager), expected, where)
        return _Tried(planned, trial, expected, outcome)

    def _repeat(self, session: Session, first: _Tried) -> None:
        """Come back to the first draw on this shape, with its weights and nobody looking: the same bits are due."""
        checks, trial = self.settings.checks, first.trial
        if not checks.determinism:
            return
        if checks.fresh_weights:
            session.load(trial.state, mutate=True)
        for _ in range(REPEATS[_mode(self.candidate, self.settings)]):
            outcome = session.call(trial.inputs, flat_tensors(trial.eager))
            where = f"{_where(first.planned)}, repeated"
            aliases = _aliases_of_reference(trial) if outcome.aliases else ()
            findings.require_untouched(outcome, checks, where, aliases)
            findings.require_values(outcome, findings.structure_of(trial.eager), first.expected, where)
            if not self.problem.atomics:
                findings.require_same(outcome, first.outcome, where)

    def _try_without_kernels(self, session: Session, first: _Tried) -> None:
        trial = first.trial
        if not any(tensor.numel() for tensor in flat_tensors(trial.eager)):
            return
        observe = Observe(operators=True, poison=True, suppress_launches=True)
        try:
            outcome = session.call(trial.inputs, flat_tensors(trial.eager), observe)
        except CandidateFault:
            return  # a candidate that fails without its kernels needs them
        findings.require_needed_kernels(outcome, first.expected, _where(first.planned))

    def _record(self, planned: PlannedDraw, outcome: Outcome) -> None:
        draw = planned.draw
        self.course.launches = dict(outcome.launches)
        self.course.operators = dict(outcome.operators)
        record = DrawRecord(
            shape=planned.shape.name, dims=dict(draw.dims), dtype=draw.dtype, distribution=draw.distribution,
            layout=draw.layout, seed=draw.seed, seconds=outcome.elapsed_ns / 1e9,
        )  # fmt: skip
        self.course.draws.append(record)


def _require_readable(candidate: Candidate, gate: tuple[Refusal, ...]) -> None:
    if candidate.syntax_error is not None:
        raise CandidateFault(
            Verdict.COMPILE_ERROR,
            Evidence(check="static_gate", where="the file", expected="Python", found=candidate.syntax_error),
        )
    if gate:
        first = gate[0]
        raise CandidateFault(
            Verdict.FORBIDDEN,
            Evidence(
                check="static_gate", where=f"line {first.line}: {first.code}", expected="only what a kernel needs",
                found=first.reason, advice=f"{len(gate)} places are refused in all" if gate[1:] else "",
            ),
        )  # fmt: skip


def _aliases_of_reference(trial: Trial) -> tuple[str, ...]:
    """What the reference's own outputs share memory with: a candidate may do the same."""
    module = trial.module()
    outputs = flat_tensors(call(module, trial.inputs))
    known = {
        "inputs": flat_tensors([list(trial.inputs.args), dict(trial.inputs.kwargs)]),
        "weights": list(module.state_dict().values()),
    }
    storages = {_storage(tensor) for tensor in outputs}
    return tuple(name for name, others in known.items() if storages & {_storage(tensor) for tensor in others})


def _storage(tensor: Any) -> int:
    return int(tensor.untyped_storage().data_ptr())


def _where(planned: PlannedDraw) -> str:
    """The draw in words that tell an author the class of inputs, not the inputs."""
    draw = planned.draw
    shape = "the tiny shape" if planned.group == 0 else f"a hidden shape of {planned.shape.name!r}"
    return f"{shape}, {draw.dtype}, {draw.distribution} inputs, {draw.layout}"


def _shapes(state: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in state.items())[:500] or "nothing"


def _dtypes(problem: Problem, settings: Settings) -> tuple[str, ...]:
    dtypes = settings.dtypes or problem.dtypes
    unknown = [dtype for dtype in dtypes if dtype not in problem.dtypes]
    if unknown:
        raise UsageError(f"dtype: {', '.join(unknown)} was given; {problem.name} has {', '.join(problem.dtypes)}")
    return tuple(dtypes)


def _seeds(problem: Problem, settings: Settings, seeds: Sequence[int] | None) -> list[int]:
    dtypes = _dtypes(problem, settings)
    if seeds is None:
        return [int.from_bytes(os.urandom(6), "little") for _ in dtypes]
    if len(seeds) != len(dtypes):
        raise UsageError(
            f"seeds: {len(seeds)} were given for {len(dtypes)} dtypes ({', '.join(dtypes)}); give one each"
        )
    return list(seeds)


def _mode(candidate: Candidate, settings: Settings) -> Mode:
    if settings.device == "cuda":
        return "cuda"
    return "interpreter" if candidate.language == "triton" else "cpu"


def _proxy(candidate: Candidate, settings: Settings, dtype: str) -> str:
    """The dtype that is judged in the place of this one."""
    if _mode(candidate, settings) != "interpreter":
        return dtype
    return settings.proxy_dtypes.get(dtype, dtype)


def _zygote(zygote: Zygote | None, settings: Settings) -> Any:
    if zygote is None:
        return Zygote(settings.device)
    if zygote.device != settings.device:
        raise UsageError(f"zygote: it is for {zygote.device}, the verification for {settings.device}")
    return nullcontext(zygote)
