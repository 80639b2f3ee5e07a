"""When a run has to end before its work does: a batch system's walltime, a drain file, the study's own limit.

Looks at the environment once and at the drain file when it is asked; decides nothing else.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from joulegrid.errors import UsageError

FLUSH_S = 10.0
"""Before the deadline, for ending the running tasks and writing the state."""


@dataclass(frozen=True, slots=True)
class Drain:
    """When nothing more may be begun, and when nothing may run any more. Times are `time.monotonic()`."""

    over_s: float = math.inf
    """Nothing may run from then on: the deadline less the time for the flush."""
    file: Path | None = None
    """Its existence asks for a drain now."""

    @classmethod
    def of(cls, wall_clock_timeout_hours: float | None, environment: Mapping[str, str] = os.environ) -> Drain:
        """Read `JOULEGRID_DEADLINE` (seconds since the epoch) and `JOULEGRID_DRAIN_FILE`.

        Raises:
            UsageError: when the deadline is no number.
        """
        now_s, limits = time.monotonic(), [math.inf]
        if wall_clock_timeout_hours is not None:
            limits.append(now_s + wall_clock_timeout_hours * 3_600)
        given = environment.get("JOULEGRID_DEADLINE")
        if given:
            limits.append(now_s + _seconds(given) - time.time())
        file = environment.get("JOULEGRID_DRAIN_FILE")
        return cls(min(limits) - FLUSH_S, Path(file) if file else None)

    def asked(self) -> str | None:
        """Return who asks for a drain now."""
        if self.file is not None and self.file.exists():
            return f"{self.file} asks for it"
        return "the time is up" if time.monotonic() >= self.over_s else None

    def is_over(self) -> bool:
        """Whether what still runs has to be cut short: at the deadline, or at once where none is known."""
        if self.over_s == math.inf:
            return self.file is not None and self.file.exists()
        return time.monotonic() >= self.over_s


def _seconds(given: str) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise UsageError(f"JOULEGRID_DEADLINE={given!r}: give seconds since the epoch, as `date +%s` prints them")
    return seconds
