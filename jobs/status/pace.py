"""How long the rest of a run will take: one estimate for progress line, `joulegrid status` and metrics. Pure."""

from __future__ import annotations

from dataclasses import dataclass

SETTLED_S = 600.0
"""Before, the start of Ray and of the workers (7 to 30 s) would weigh too much in a run's pace."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of a run's progress."""

    spent_s: float | None
    """Seconds that all its drivers have spent, gaps included."""
    ended: int
    """Tasks that are done or have failed."""
    running: int
    pending: int | None
    """`None` where nobody knows how many there are."""
    mean_task_s: float | None
    """Mean duration of those that ended."""

    def time_left_s(self) -> float | None:
        """Return the seconds until the last task ends; `None` where that cannot be said.

        At the pace of the run so far; in its first ten minutes the mean duration times what is left, by what runs.
        """
        if self.pending is None:
            return None
        left = self.pending + self.running
        if left == 0:
            return 0.0
        if not self.ended or self.spent_s is None:
            return None
        if self.spent_s < SETTLED_S and self.running and self.mean_task_s is not None:
            return self.mean_task_s * left / self.running
        return self.spent_s / self.ended * left
