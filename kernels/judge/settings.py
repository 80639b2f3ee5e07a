"""How a verification is done: device, dtypes, checks, limits; and what follows from that."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from joulegrid.errors import PreFlightError, UsageError
from joulegrid.kernels.interpret import PROXY_DTYPES, refusal
from joulegrid.kernels.judge.candidate import Candidate
from joulegrid.kernels.judge.draw_plan import LEAST_DRAWS
from joulegrid.kernels.judge.limits import Checks, Limits
from joulegrid.kernels.problem import Problem

Mode = Literal["cpu", "interpreter", "cuda"]
"""Where a candidate runs: torch code on the CPU, Triton's interpreter, or a GPU."""


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
    proxy_dtypes: Mapping[str, str] = field(default_factory=lambda: PROXY_DTYPES)
    """What Triton's interpreter judges in the place of a dtype whose arithmetic it gets wrong."""


def dtypes_of(problem: Problem, settings: Settings) -> tuple[str, ...]:
    """Return the dtypes to be judged; `UsageError` for one that the problem does not have."""
    dtypes = settings.dtypes or problem.dtypes
    unknown = [dtype for dtype in dtypes if dtype not in problem.dtypes]
    if unknown:
        raise UsageError(f"dtype: {', '.join(unknown)} was given; {problem.name} has {', '.join(problem.dtypes)}")
    return tuple(dtypes)


def seeds_of(problem: Problem, settings: Settings, seeds: Sequence[int] | None) -> list[int]:
    """Return a seed for each dtype: those that were given, or new ones from the system's entropy."""
    dtypes = dtypes_of(problem, settings)
    if seeds is None:
        return [int.from_bytes(os.urandom(6), "little") for _ in dtypes]
    if len(seeds) != len(dtypes):
        raise UsageError(
            f"seeds: {len(seeds)} were given for {len(dtypes)} dtypes ({', '.join(dtypes)}); give one each"
        )
    return list(seeds)


def require_interpreter(candidate: Candidate, settings: Settings) -> None:
    """Raise `PreFlightError` where a candidate in triton would have to be interpreted and cannot be."""
    if mode_of(candidate, settings) == "interpreter" and (reason := refusal()) is not None:
        raise PreFlightError(f"a candidate in triton cannot be verified here: {reason}")


def mode_of(candidate: Candidate, settings: Settings) -> Mode:
    """Return where the candidate runs."""
    if settings.device == "cuda":
        return "cuda"
    return "interpreter" if candidate.language == "triton" else "cpu"


def proxy_of(candidate: Candidate, settings: Settings, dtype: str) -> str:
    """The dtype that is judged in the place of this one."""
    if mode_of(candidate, settings) != "interpreter":
        return dtype
    return settings.proxy_dtypes.get(dtype, dtype)
