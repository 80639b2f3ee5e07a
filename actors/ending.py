"""How a task's process ended, seen from outside, and what that means."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from joulegrid.jsontypes import Json

if TYPE_CHECKING:
    from joulegrid.actors.result import FailureClass

REPORT_LIMIT = 16 * 2**20
"""Bytes of a report or a result; what is larger belongs into files of its own (the artifacts folder)."""
Killed = Literal["timeout", "cancelled", "teardown"]
"""Why a task was killed: at its limit, on demand, or because it did not end after its report."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task's process ended, and what it left behind."""

    report: dict[str, Json] | None
    """What the process wrote, or `None`."""
    killed: Killed | None
    exit_code: int | None
    signal: int | None
    max_rss_bytes: int | None
    log: str
    ordered_ns: int
    """`time.monotonic_ns()` when the process was ordered."""
    ended_ns: int
    escaped: int = 0
    """Processes that the task had left behind and that were killed."""
    memory_kill: bool = False
    """Whether it was the kernel that killed it, for lack of memory."""
    unkilled: int = 0
    """Processes of the task that no SIGKILL ends: they wait in the kernel for a device or a disk."""


def ending_of(ended: dict[str, Json], killed: Killed | None, ordered_ns: int) -> Ending:
    """Return how a process ended from the zygote's message; report, log and what was left behind are still to come."""
    status = ended.get("status", 0)
    return Ending(
        report=None,
        killed=killed,
        exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        max_rss_bytes=ended.get("max_rss_bytes"),
        log="",
        ordered_ns=ordered_ns,
        ended_ns=time.monotonic_ns(),
    )


def not_started() -> Ending:
    """Return the ending of a task that was not begun."""
    now_ns = time.monotonic_ns()
    return Ending(None, None, None, None, None, "", now_ns, now_ns)


def unkilled(ending: Ending) -> str | None:
    """Say that processes of the task cannot be ended, or `None`."""
    if not ending.unkilled:
        return None
    return f"{ending.unkilled} processes of a task do not end on SIGKILL: they wait in the kernel for a device"


def is_report(path: Path) -> bool:
    """Whether a plain file stands where the report is awaited; it comes there whole, by a rename."""
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def read_report(path: Path) -> dict[str, Json] | None:
    """Return what the process wrote; `None` where there is no plain file with one whole JSON mapping.

    The measured code could have written it: a pipe, a link, a flood, NaN or broken text must not harm the reader.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode) or state.st_size > REPORT_LIMIT:
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


def too_large(size: int) -> str:
    """Say that a report or a result is too large, and what to do."""
    return (
        f"the result has {size / 2**20:,.0f} MiB, a result file holds {REPORT_LIMIT // 2**20} at most; "
        "write large data into the artifacts folder (JOULEGRID_ARTIFACTS) and return numbers"
    )


def failure_class_of(ending: Ending) -> FailureClass:
    """Name the class of a task that left no valid report."""
    if ending.killed is not None:
        return "no_result" if ending.killed == "teardown" else ending.killed
    if ending.memory_kill:
        return "oom_host"
    if ending.signal is not None or ending.exit_code not in (0, None):
        return "crash"
    return "no_result"


def crash_message(ending: Ending) -> str:
    """Say in words how a process without a report ended."""
    if ending.killed == "timeout":
        return f"killed after {(ending.ended_ns - ending.ordered_ns) / 1e9:.1f} s: the limit was reached"
    if ending.killed == "cancelled":
        return "killed because the study was stopped"
    if ending.killed == "teardown":
        return "killed because it did not end after it had written its report, which cannot be read"
    if ending.memory_kill:
        return "killed by the kernel (SIGKILL) because the machine, or the task's cgroup, ran out of memory"
    if ending.signal is not None:
        return f"died of signal {ending.signal} ({signal_name(ending.signal)})"
    if ending.exit_code:
        return f"left with exit code {ending.exit_code} and no result"
    return "left with exit code 0 and no result"


def signal_name(number: int) -> str:
    """Return the name of a signal; those between SIGRTMIN and SIGRTMAX are counted from the first."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"SIGRTMIN+{number - signal.SIGRTMIN}"
