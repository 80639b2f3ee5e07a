"""Hold one candidate against the judge as the tests and the benchmark of this folder do."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from joulegrid.cases.catalog import case_folder
from joulegrid.cases.manifest import read_problem
from joulegrid.kernels.judge.candidate import read_candidate
from joulegrid.kernels.judge.limits import Checks, Limits
from joulegrid.kernels.judge.verdict import Verification
from joulegrid.kernels.judge.verify import Settings, verify
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.problem import Problem
from tests.attacks.catalog import Entry

QUICK = Limits(call_timeout_s=3.0)
"""A candidate that hangs is given up soon."""


def judged(
    entry: Entry, zygote: Zygote, checks: Checks | None = None, *, seed: int | None = 1, path: Path | None = None
) -> Verification:
    """Verify an entry, or another file in its place, in its dtype; by the same draws for the same seed."""
    settings = Settings(dtypes=(entry.dtype,), checks=checks or Checks(), limits=QUICK)
    seeds = None if seed is None else [seed]
    return verify(problem(entry.case), read_candidate(path or entry.path), settings, seeds=seeds, zygote=zygote)


@cache
def problem(case: str) -> Problem:
    """Return a case's problem; manifests are read once."""
    return read_problem(case_folder(case))
