"""Mean, spread and interval of a repeated number. Not a test of anything: no hypothesis, no outlier is removed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from joulegrid.student import student_t


class Statistic(BaseModel):
    """A number over the cycles of one experiment."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    n: int
    """Repetitions that had a finite value."""
    mean: float
    sd: float | None = None
    """Sample standard deviation (n - 1); null for n = 1."""
    low: float | None = None
    """Lower end of the two-sided 95 % Student t interval of the mean; null for n = 1."""
    high: float | None = None
    """Upper end of the same."""
    unit: str | None = None

    @property
    def half_width(self) -> float | None:
        """Half the t interval's width, in the statistic's unit; `None` where there is no interval."""
        return None if self.high is None else self.high - self.mean


@dataclass(slots=True)
class Running:
    """Mean and squared deviations of a stream in constant memory (Welford, Technometrics 4, 1962)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Take one finite value; what is not finite is left out, so that `n` says how many counted."""
        if not math.isfinite(value):
            return
        self.n += 1
        step = value - self.mean
        self.mean += step / self.n
        self.squares += step * (value - self.mean)

    def statistic(self, unit: str | None = None) -> Statistic | None:
        """Return what was seen so far, `None` for nothing."""
        if self.n == 0:
            return None
        if self.n == 1:
            return Statistic(n=1, mean=self.mean, unit=unit)
        sd = math.sqrt(self.squares / (self.n - 1))
        half = student_t(self.n - 1) * sd / math.sqrt(self.n)
        return Statistic(n=self.n, mean=self.mean, sd=sd, low=self.mean - half, high=self.mean + half, unit=unit)
