"""How a task's process ended, seen from outside, and what that means."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from joulegrid.actors.result import FailureClass
from joulegrid.jsontypes import Json


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task's process ended, and what it left behind."""

    report: dict[str, Json] | None
    """What the process wrote, or `None`."""
    killed: Literal["timeout", "cancelled"] | None
    exit_code: int | None
    signal: int | None
    max_rss_bytes: int | None
    log: str
    ordered_ns: int
    """`time.monotonic_ns()` when the process was ordered."""
    ended_ns: int
    escaped: int = 0
    """Processes that the task had left behind and that were killed."""


def read_report(path: Path) -> dict[str, Json] | None:
    """Return what the process wrote; `None` where there is nothing, or nothing whole."""
    try:
        report: dict[str, Json] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return report


def failure_class_of(ending: Ending) -> FailureClass:
    """Name the class of a task that left no valid report."""
    if ending.killed is not None:
        return ending.killed
    if ending.signal is not None or ending.exit_code not in (0, None):
        return "crash"
    return "no_result"


def crash_message(ending: Ending) -> str:
    """Say in words how a process without a report ended."""
    if ending.killed == "timeout":
        return f"killed after {(ending.ended_ns - ending.ordered_ns) / 1e9:.1f} s: the limit was reached"
    if ending.killed == "cancelled":
        return "killed because the study was stopped"
    if ending.signal is not None:
        return f"died of signal {ending.signal} ({signal.Signals(ending.signal).name})"
    if ending.exit_code:
        return f"left with exit code {ending.exit_code} and no result"
    return "left with exit code 0 and no result"
