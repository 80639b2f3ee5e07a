"""The processes of runs on the standing cluster: actors, zygotes, tasks. Found by what they are, and by whose they are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.jobs.ray_head import RayHead

GONE_LIMIT_S = 60.0
"""Ray notices a dead driver at once and its actors end within a second; the limit is for a machine under load."""
_ACTORS = (b"ray::Worker", b"ray::Sampler")


def of_runs(head: RayHead, *names: bytes) -> list[int]:
    """Process ids of actors, zygotes and tasks of any run on this cluster; `names` look for one kind alone."""
    nonce = f"JOULEGRID_TEST_CLUSTER={head.environment['JOULEGRID_TEST_CLUSTER']}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and nonce in (surroundings := (entry / "environ").read_bytes()):
                command = (entry / "cmdline").read_bytes()
                ours = command.startswith(_ACTORS) or b"JOULEGRID_NONCE=" in surroundings
                if ours and command and (not names or any(name in command for name in names)):
                    found.append(int(entry.name))
    return sorted(found)


def wait_until_gone(head: RayHead) -> None:
    """Wait until no process of any run is left."""
    wait_until(lambda: not of_runs(head), GONE_LIMIT_S, lambda: f"left: {[_told(pid) for pid in of_runs(head)]}")


def wait_until(true: Callable[[], object], limit_s: float = 90.0, why: Callable[[], str] = lambda: "") -> None:
    """Wait until a condition holds."""
    limit = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < limit, f"waited for {limit_s:.0f} s in vain; {why()}"
        time.sleep(0.05)


def kill(pid: int, number: int) -> None:
    """Send a signal to a process, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _told(pid: int) -> str:
    with suppress(OSError):
        return f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes().replace(bytes(1), b' ').decode()[:120]}"
    return str(pid)
