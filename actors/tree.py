"""Ending everything below a process, however it forks, detaches or ignores signals."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from joulegrid.kernels.judge.process_tree import kill_below

PERSISTENCE_S = 10.0
"""SIGKILL is certain but for processes that wait in the kernel for a device or a disk."""


def end_tree(root: int) -> tuple[int, int]:
    """Kill everything below `root` until nothing is left; processes may be forking meanwhile.

    Returns how many there were at first, and how many would not die in ten seconds. `root` must be the child
    subreaper of what is below it: then a process that loses its parent comes to it instead of getting away.
    """
    found = left = kill_below(root)
    limit_s = time.monotonic() + PERSISTENCE_S
    while left and time.monotonic() < limit_s:
        if left < 16:  # fewer are no fork bomb: give the kernel and the subreaper a moment
            time.sleep(0.002)
        left = kill_below(root)
    return found, left


def kill_marked(nonce: str) -> int:
    """Kill what escaped from a dead zygote, by the nonce in its environment; return how many there were."""
    mark, killed = f"JOULEGRID_NONCE={nonce}".encode(), 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
                    killed += 1
    return killed
