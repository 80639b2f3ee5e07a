"""Verify one candidate against one problem: fresh draws, hidden shapes, changing weights, and every check of `Checks`.

The reference and its oracle are evaluated here, in the judge; the candidate sees arguments and weights alone, in a
child of its own for each dtype.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from joulegrid.errors import UsageError
from joulegrid.kernels.device import single_threaded
from joulegrid.kernels.judge.candidate import Candidate
from joulegrid.kernels.judge.judgement import Course, Judgement
from joulegrid.kernels.judge.limits import Checks
from joulegrid.kernels.judge.settings import Settings as Settings
from joulegrid.kernels.judge.settings import dtypes_of, mode_of, proxy_of, require_interpreter, seeds_of
from joulegrid.kernels.judge.static_gate import refusals
from joulegrid.kernels.judge.verdict import CandidateFault, Evidence, Refusal, Verdict, Verification
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.problem import Problem


def verify(
    problem: Problem,
    candidate: Candidate,
    settings: Settings | None = None,
    *,
    seeds: Sequence[int] | None = None,
    zygote: Zygote | None = None,
    judgement: Callable[..., Judgement] = Judgement,
) -> Verification:
    """Judge a candidate; its faults are the result, never an exception.

    `seeds`, one for each dtype, repeat an earlier verification; without them they are drawn from the system's entropy.
    `judgement` is for studies of the judge itself, which look beyond the first finding; no command hands one over.

    Raises:
        UsageError: dtypes, seeds or the case itself are wrong.
        PreFlightError: no child can be had here, or no interpreter for a candidate in triton.
    """
    settings = settings or Settings()
    started = time.monotonic()
    dtypes, used = dtypes_of(problem, settings), seeds_of(problem, settings, seeds)
    require_interpreter(candidate, settings)
    course = Course()
    evidence: Evidence | None
    gate = tuple(refusals(candidate)) if settings.checks.static_gate and candidate.syntax_error is None else ()
    try:
        _require_readable(candidate, gate)
        with _zygote(zygote, settings) as open_zygote, single_threaded():
            for dtype, seed in zip(dtypes, used, strict=True):
                judgement(problem, candidate, settings, course).judge(open_zygote, dtype, seed)
        verdict, evidence = Verdict.PASSED, None
    except CandidateFault as fault:
        verdict, evidence = fault.verdict, fault.evidence
        course.isolation = fault.isolation
    judged = {dtype: proxy_of(candidate, settings, dtype) for dtype in dtypes}
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
        proxy_dtype={dtype: proxy for dtype, proxy in judged.items() if proxy != dtype},
        mode=mode_of(candidate, settings),
        seconds=time.monotonic() - started,
    )


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


def _zygote(zygote: Zygote | None, settings: Settings) -> Any:
    if zygote is None:
        return Zygote(settings.device)
    if zygote.device != settings.device:
        raise UsageError(f"zygote: it is for {zygote.device}, the verification for {settings.device}")
    return nullcontext(zygote)
