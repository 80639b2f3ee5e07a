"""What a judge says of a candidate: one verdict, the evidence for it, and how it was come by."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Verdict(StrEnum):
    """The outcome of a verification or a timing. Only `passed` may be followed by a speed."""

    PASSED = "passed"
    WRONG_SHAPE = "wrong_shape"
    WRONG_DTYPE = "wrong_dtype"
    WRONG_VALUES = "wrong_values"
    NONDETERMINISTIC = "nondeterministic"
    FORBIDDEN = "forbidden"
    TAMPERING = "tampering"
    OUT_OF_BOUNDS = "out_of_bounds"
    COMPILE_ERROR = "compile_error"
    RUNTIME_ERROR = "runtime_error"
    TIMEOUT = "timeout"
    TOO_FAST = "too_fast"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Evidence(_Frozen):
    """One thing that a check found, in words that a person can follow; never a hidden input."""

    check: str
    """The check that found it, as `Checks` names it, or `values`, `protocol`, `sandbox`, `limits`."""
    where: str
    """Draw, output, line of the candidate, or phase."""
    expected: str
    """What would have passed."""
    found: str
    """What was there."""
    advice: str = ""
    """What its author can do."""


class Refusal(_Frozen):
    """One place of a candidate's source that the static gate refuses."""

    line: int
    """The line in the file."""
    code: str
    """The line's text."""
    reason: str
    """Why it is refused."""


class DrawRecord(_Frozen):
    """One draw that a candidate was tried on."""

    shape: str
    """`tiny`, or the name of a hidden generator."""
    dims: dict[str, int]
    """The sizes; left out of what an author is shown."""
    dtype: str
    """The case's dtype."""
    distribution: str
    """What float inputs were filled with."""
    layout: str
    """How inputs lay in memory."""
    seed: int
    """The draw's seed; left out of what an author is shown."""
    seconds: float
    """One call in the child, observers included: not a timing."""


class Verification(_Frozen):
    """The outcome of verifying one candidate against one case."""

    case: str
    """The case's name."""
    case_fingerprint: str
    """Hash of the case's manifest, module and weight provider."""
    candidate_sha256: str
    """Hash of the candidate's source."""
    language: Literal["triton", "torch"]
    """What the candidate says it is written in."""
    verdict: Verdict
    """The judgement."""
    evidence: tuple[Evidence, ...] = ()
    """What led to it; empty for `passed`."""
    gate: tuple[Refusal, ...] = ()
    """What the static gate refused."""
    draws: tuple[DrawRecord, ...] = ()
    """What the candidate was tried on, up to the first failure."""
    seeds: tuple[int, ...] = ()
    """One for each dtype: all draws follow from them, so that `verify(..., seeds=…)` repeats them."""
    checks_off: tuple[str, ...] = ()
    """Checks that were switched off; a verification for the record has none."""
    isolation: dict[str, bool | int | str | None] = {}
    """What confined the child; false, with a reason beside it, for what this machine refused."""
    launches: dict[str, int] = {}
    """Triton kernels by name and how often they ran in one call, as seen in the child."""
    operators: dict[str, int] = {}
    """torch operators of one call, as seen in the child."""
    passthrough: tuple[str, ...] = ()
    """Operators of torch that a Triton candidate declares to leave to torch."""
    proxy_dtype: dict[str, str] = {}
    """Where another dtype stood in for one that the mode computes wrongly: case's dtype → judged dtype."""
    mode: Literal["cpu", "interpreter", "cuda"]
    """Where it ran: torch code on the CPU, Triton's interpreter, or a GPU."""
    trust: Literal["isolated"] = "isolated"
    """The candidate ran in a process of its own; the judge alone held inputs, oracle and verdict."""
    seconds: float
    """What the verification took."""

    @property
    def passed(self) -> bool:
        """Whether nothing spoke against the candidate."""
        return self.verdict is Verdict.PASSED

    def for_author(self) -> Verification:
        """Return the same without seeds and sizes, from which hidden inputs could be made."""
        draws = tuple(draw.model_copy(update={"dims": {}, "seed": 0}) for draw in self.draws)
        return self.model_copy(update={"draws": draws, "seeds": ()})


class CandidateFault(Exception):  # noqa: N818 - a result, not an error of ours
    """What a candidate did decides its verdict; raised inside the judge and caught by `verify` and the timing."""

    def __init__(self, verdict: Verdict, evidence: Evidence) -> None:
        super().__init__(f"{verdict}: {evidence.check} at {evidence.where}: {evidence.found}")
        self.verdict, self.evidence = verdict, evidence
        self.isolation: dict[str, bool | int | str | None] = {}
        """How the child was confined in which it happened, as far as there was one."""
