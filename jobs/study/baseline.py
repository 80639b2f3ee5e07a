"""The baseline that a study declares for its report, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

from joulegrid.errors import UsageError

if TYPE_CHECKING:
    from joulegrid.jobs.plan.plan import Plan

_KEY = re.compile(r"[0-9a-f]{16}")
_NAMES_SHOWN = 5
POINTS_CHECKED = 100_000
"""In a larger plan a wrong name is told by the report alone: looking at every label would take over a second."""


def refuse_unknown_baseline(plan: Plan) -> None:
    """Refuse a plan whose study declares a baseline that is none of its experiments; `UsageError` names the nearest."""
    baseline = plan.study.execution.report.baseline
    if baseline is None or len(plan) > POINTS_CHECKED:
        return
    if any(label == baseline for _, label in plan.point_labels()):
        return
    if _KEY.fullmatch(baseline) and any(point.key == baseline for point in plan):
        return
    labels = [label for _, label in plan.point_labels()]
    raise UsageError(
        f"execution.report.baseline: no experiment of the study is named {baseline!r}; give a label or a key: "
        f"{nearest(baseline, labels)}"
    )


def nearest(name: str, labels: Iterable[str]) -> str:
    """Return the labels most like a name, else the first ones, as a message shows them."""
    known = list(labels)
    near = get_close_matches(name, known, _NAMES_SHOWN, 0.5) or known[:_NAMES_SHOWN]
    return ", ".join(map(repr, near)) or "none is done yet"
