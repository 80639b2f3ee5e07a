"""What a judge and its clock found of one candidate on one shape in one dtype, in few numbers.

The same for the command line, a study's task and an archive. The whole evidence lies in the files beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import model_validator

from joulegrid.cases.contract import Section

PASSED = "passed"
DISAGREES = "a call took another time in its window than when it was timed"
"""Why joules of a call are not said although its windows have some."""
NO_WINDOW = "no window measured the filling in of inputs alone"


class CallEnergy(Section):
    """Joules of one call of the candidate, as the probe's window and its sampler give them."""

    energy_j: float | None
    """Joules of one call; null where they are not known."""
    low_j: float | None = None
    """Lower end of the stated interval."""
    high_j: float | None = None
    """Upper end."""
    calls: int
    """Calls in the window."""
    provenance: str | None = None
    """`measured`, `modelled` or `simulated`."""
    source: str | None = None
    """What was read."""
    scope: str | None = None
    """The hardware that the joules belong to."""
    reason: str | None = None
    """Why they are not known."""


class JudgedPoint(Section):
    """What one shape in one dtype came to. Numbers of speed and energy exist only where the verdict is `passed`."""

    shape: str
    """Name of the shape."""
    dims: dict[str, int]
    """Its dims."""
    dtype: str
    """`fp32`, `fp16` or `bf16`."""
    weight: float
    """The shape's share of the work that the case stands for."""
    device: str
    """`cpu` or `cuda`."""
    mode: str | None = None
    """How it was run: `cpu`, `interpreter` or `cuda`."""
    verdict: str
    """`passed`, or the first thing that was wrong."""
    draws: int
    """Draws that were compared."""
    seeds: list[int]
    """Of these draws; `replay` uses them again."""
    speedup: float | None = None
    """Claim: the lower bound of the strongest baseline's time over the candidate's."""
    speedup_estimate: float | None = None
    """The middle of that ratio's interval."""
    baseline: str | None = None
    """Name of the strongest baseline."""
    latency_us: float | None = None
    """Time of one call."""
    roof_score: float | None = None
    """1 / (1 + (t - t_roof) / (t_baseline - t_roof))."""
    energy: CallEnergy | None = None
    """Joules of one call; null where none was asked for."""
    cycle: int = 0
    """Which repetition of a study."""
    take: int = 0
    """Which of several experiments that are alike in shape, dtype and cycle, and differ in how they were timed."""

    @model_validator(mode="after")
    def _speed_only_on_passed(self) -> JudgedPoint:
        numbers = (self.speedup, self.speedup_estimate, self.latency_us, self.roof_score, self.energy)
        if self.verdict != PASSED and any(number is not None for number in numbers):
            raise ValueError("speed and energy exist only where the verdict is `passed`")
        return self


def mean_speedup(points: Sequence[JudgedPoint]) -> float | None:
    """Return the geometric mean of the claims by the shapes' weights; `None` where there is none."""
    pairs = [(point.weight, math.log(point.speedup)) for point in points if point.speedup]
    whole = sum(weight for weight, _ in pairs)
    return math.exp(sum(weight * log for weight, log in pairs) / whole) if whole > 0 else None
