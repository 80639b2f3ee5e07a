"""How often the kernel has killed a process for lack of memory, as its counters say.

Reading them before and after a task is the only way to tell such a SIGKILL from anybody else's: the signal itself does
not say who sent it, and the kernel's log is often closed.
"""

from __future__ import annotations

from pathlib import Path

from joulegrid.cluster.node import ROOT, read_text


def memory_kills(pid: int, root: Path = ROOT) -> int | None:
    """Return how many processes were killed for lack of memory in the memory cgroup of `pid`.

    `oom_kill` of `memory.oom_control` (cgroup version 1) or `memory.events` (version 2): the kernel counts a process in
    its own group, whichever limit was reached. Where no group can be read, `oom_kill` of `/proc/vmstat`, those of the
    whole machine. `None` where that is missing too.
    """
    for file in (*_group_files(pid, root), root / "proc/vmstat"):
        for line in (read_text(file) or "").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdigit():
                return int(count)
    return None


def _group_files(pid: int, root: Path) -> list[Path]:
    """Files that may hold the counter: of the process' own group, else of the root that a container sees."""
    mount, files = root / "sys/fs/cgroup", []
    for line in (read_text(root / f"proc/{pid}/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            files += [mount / "memory" / part / "memory.oom_control" for part in (path.lstrip("/"), "")]
        elif not controllers:
            files += [mount / part / "memory.events" for part in (path.lstrip("/"), "")]
    return files
