"""`n_cycles: auto`: how many cycles a study needs, asked once of a pilot of complete cycles in random order. Pure.

Stein's two-stage rule (C. Stein, A two-sample test for a linear hypothesis whose power is independent of the variance,
Annals of Mathematical Statistics 16 (1945) 243–258): with s from a pilot of n₀, the mean of

    n = max(n₀, ⌈(t₀.₉₇₅, n₀ − 1 · s / d)²⌉)

repetitions has a 95 % interval of at most ±d. The number is fixed before the rest is run. Looking again after each
cycle and stopping when the interval is small enough would stop at lucky cycles and state intervals that are too small.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, model_validator

from joulegrid.actors.result import ExperimentResult
from joulegrid.cases.contract import Section
from joulegrid.student import student_t

LEAST_VALUES = 3
"""Of an experiment with fewer the spread is not known."""


class AutoCycles(Section):
    """How `n_cycles: auto` decides."""

    pilot: int = Field(default=5, ge=5, le=1_000)
    """Cycles that are run before anything is decided."""
    most: int = Field(default=15, ge=5, le=1_000)
    """No more cycles than this, whatever the pilot asks for."""
    half_width: float = Field(default=0.01, gt=0, lt=1)
    """Half the width of the 95 % interval that every experiment's mean should have, as a fraction of that mean."""

    @model_validator(mode="after")
    def _pilot_before_most(self) -> AutoCycles:
        if self.pilot > self.most:
            raise ValueError(f"pilot {self.pilot} is more than most {self.most}")
        return self


@dataclass(frozen=True, slots=True)
class Decision:
    """How many cycles in all, and why, in words."""

    n_cycles: int
    why: str


def value_of(result: ExperimentResult) -> tuple[float | None, float | None]:
    """Return (joules for the first unit of work, seconds of a repetition) of a done task's headline window."""
    window = next((one for one in result.windows or [] if one.name == result.headline), None)
    joules = next((one.energy_j for one in result.energy_per or []), None)
    if joules is None and window is not None and window.energy.energy_j is not None:
        joules = window.energy.energy_j / window.repeats
    return joules, None if window is None else window.seconds / window.repeats


def repeated(values: Sequence[tuple[float | None, float | None]]) -> list[float]:
    """Return what an experiment's interval is about: its joules; its seconds where no joules are known at all."""
    joules = [value for value, _ in values if value is not None]
    return joules or [seconds for _, seconds in values if seconds is not None]


def decided(experiments: Sequence[Sequence[float]], terms: AutoCycles) -> Decision:
    """Return how many cycles the experiment with the widest spread asks for, `terms.most` at the most.

    An experiment with fewer than three values (failed tasks have none) asks for nothing; nor does one whose mean is
    not positive, of which no fraction can be taken.
    """
    spreads = [statistics.stdev(v) / statistics.fmean(v) for v in experiments if _can_ask(v)]
    counts = [len(v) for v in experiments if _can_ask(v)]
    if not spreads:
        return Decision(terms.pilot, f"no experiment has {LEAST_VALUES} values after the pilot: no more cycles are run")
    asked = [needed(s, n, terms.half_width) for s, n in zip(spreads, counts, strict=True)]
    wanted = max(terms.pilot, *asked)
    widest = asked.index(max(asked))
    half = student_t(counts[widest] - 1) * spreads[widest] / math.sqrt(counts[widest])
    why = f"the pilot of {terms.pilot} has ±{half:.2%} at the widest and ±{terms.half_width:.2%} needs {wanted} cycles"
    return Decision(min(terms.most, wanted), why + (f"; {terms.most} are the most" if wanted > terms.most else ""))


def needed(spread: float, n: int, half_width: float) -> int:
    """Return Stein's number of repetitions, for a coefficient of variation that `n` values have."""
    asked = (student_t(n - 1) * spread / half_width) ** 2
    return math.ceil(min(asked, 1e9) - 1e-9)


def _can_ask(values: Sequence[float]) -> bool:
    return len(values) >= LEAST_VALUES and statistics.fmean(values) > 0
