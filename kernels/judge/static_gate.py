"""The static gate."""

from __future__ import annotations

from joulegrid.kernels.judge.candidate import Candidate
from joulegrid.kernels.judge.verdict import Refusal


def refusals(candidate: Candidate) -> list[Refusal]:
    """Return what a candidate's source may not hold, each place with its reason."""
    return []
