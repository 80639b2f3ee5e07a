"""How a task's process ended, seen from outside, and what that means."""

from __future__ import annotations

import json
import os
import signal
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from joulegrid.actors.result import FailureClass
from joulegrid.jsontypes import Json

REPORT_LIMIT = 256 * 2**20
"""Bytes; a longer report is cut, and then no JSON."""


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
    """Return what the process wrote; `None` where there is no plain file with one whole JSON mapping.

    The measured code could have written it: a pipe, a link, a flood, NaN or broken text must not harm the reader.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            report = clean(json.loads(file.read(REPORT_LIMIT), parse_constant=_refuse_constant))
    except (OSError, ValueError, RecursionError, MemoryError):
        return None
    return report if isinstance(report, dict) else None


def clean(value: Json) -> Json:
    """Replace lone surrogates, which no UTF-8 file can hold, in every text of a JSON value."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {clean(name): clean(inner) for name, inner in value.items()}
    return [clean(inner) for inner in value] if isinstance(value, list) else value


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON number")


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
