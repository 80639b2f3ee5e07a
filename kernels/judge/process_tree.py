"""A process with everything below it: stop it, let it go on, end it. From outside, by the kernel's lists.

Standard library alone: zygotes import it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

STOP_PATIENCE_S = 2.0
_LISTED = Path(f"/proc/self/task/{os.getpid()}/children").exists()
"""Whether the kernel lists children (CONFIG_PROC_CHILDREN); a sandbox such as gVisor may not."""


def members(root: int) -> list[int]:
    """Return the process and everything below it, parents before children."""
    return [root, *below(root)]


def below(root: int) -> list[int]:
    """Return the process ids of everything below a process, parents before children."""
    found, front = [], [root]
    while front:
        front = [child for parent in front for child in _children(parent)]
        found += front
    return found


def stop(root: int) -> bool:
    """SIGSTOP the whole tree and return when every thread of it stands still; false where that took too long.

    A process that is started meanwhile is found in the next round: the tree is only stopped when two looks agree.
    """
    deadline = time.monotonic() + STOP_PATIENCE_S
    _signal(root, signal.SIGSTOP)  # before a look at its threads, which may be many
    stopped = [root]
    while time.monotonic() < deadline:
        tree = members(root)
        if tree == stopped and all(map(_stands, tree)):
            return True
        for pid in tree:
            if pid not in stopped:
                _signal(pid, signal.SIGSTOP)
        stopped = tree
        if not all(map(_stands, tree)):
            time.sleep(2e-5)
    return False


def resume(root: int) -> None:
    """SIGCONT the whole tree."""
    for pid in members(root):
        _signal(pid, signal.SIGCONT)


def end(root: int) -> bool:
    """SIGKILL the whole tree, again and again until nothing is left; false where something stays."""
    deadline = time.monotonic() + STOP_PATIENCE_S
    known: set[int] = set()
    while time.monotonic() < deadline:
        known |= set(members(root))
        alive = [pid for pid in known if not _ended(pid)]
        if not alive:
            return True
        for pid in alive:
            _signal(pid, signal.SIGKILL)
        time.sleep(1e-3)
    return False


def kill_below(root: int) -> int:
    """SIGKILL everything below a process; return how many were there. New ones are caught by calling it again."""
    found = below(root)
    for pid in found:
        _signal(pid, signal.SIGKILL)
    return len(found)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _children(pid: int) -> list[int]:
    if not _LISTED:
        return [child for child in _processes() if _parent(child) == pid]
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += [int(child) for child in (task / "children").read_text().split()]
    return children


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int | None:
    """Parent's process id; the command's name, in parentheses, may hold anything."""
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[1])
    return None


def _stands(pid: int) -> bool:
    """Whether all threads of a process are stopped, or it has ended."""
    try:
        return all(_state(task) in "TtZX" for task in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return True


def _ended(pid: int) -> bool:
    return _state(Path(f"/proc/{pid}")) in "ZX"


def _state(folder: Path) -> str:
    """The letter of proc(5); `X` for what is not there any more."""
    try:
        return (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return "X"
