"""The zygotes and tasks of this test session's Ray, told apart from those of others on the machine."""

from __future__ import annotations

import contextlib
import os

import psutil

SESSION = "TESTS_OF_JOULEGRID"
"""Environment variable that names the test process whose Ray a process belongs to."""


def task_processes() -> list[int]:
    """Return the process ids of zygotes and tasks, found by command line and environment."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        if "joulegrid.actors.zygote" in (one.info["cmdline"] or []):
            with contextlib.suppress(psutil.Error):
                found += [one.pid] if one.environ().get(SESSION) == str(os.getpid()) else []
    return found
