"""What an agent may call: plain functions of names and paths, with results that are data. Ready for any framework.

What they return tells an author what is wrong, never the hidden inputs that would let it be hidden.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from joulegrid.cases.explore import CasePoint, make_case_forward, variant_folder
from joulegrid.cases.lab_settings import lab_settings
from joulegrid.cases.profiling import Profile, profile

if TYPE_CHECKING:
    from joulegrid.kernels.judge.verdict import Verification
    from joulegrid.kernels.judge.zygote import Zygote


def verification_tool(
    case: str, candidate: str, dtype: str | None = None, *, zygote: Zygote | None = None
) -> Verification:
    """Judge a candidate's file against a case, in one dtype (by default the case's first): a verdict with evidence.

    The candidate runs in a process of its own (`trust: isolated`). Seeds and hidden sizes are left out. A zygote that
    is open already saves a loop some four seconds a call.
    `UsageError` where case or file are none; whatever the candidate does wrong is the result.
    """
    from joulegrid.cases.judging import open_zygote, subject, verified

    judged = subject(case, candidate, "tiny", dtype, lab_settings().used_device)
    with open_zygote(judged.device) if zygote is None else nullcontext(zygote) as used:
        return verified(judged.problem, judged.candidate, judged.dtype, zygote=used).for_author()


def profiler_tool(case: str, candidate: str | None = None, shape: str = "tiny", dtype: str | None = None) -> Profile:
    """Trace a candidate, or without one the case's own module, in this process: operators, trace, share of the roof.

    The trace lies in `artifacts/{case}/{candidate}/profiler`. `UsageError` where case, file or shape are none, or the
    candidate raises.
    """
    forward = make_case_forward(case, candidate, CasePoint(shape, dtype))
    label = Path(candidate).stem if candidate else "baseline"
    return profile(forward, variant_folder(lab_settings(), forward.problem.name, label) / "profiler")
