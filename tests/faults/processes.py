"""The processes of runs on the standing cluster: actors, zygotes, tasks; found by what they are and whose they are."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.cluster.s3_servers import HOST, free_port
from tests.jobs.ray_head import RayHead

GONE_LIMIT_S = 60.0
"""Ray notices a dead driver at once and its actors end within a second; the limit is for a machine under load."""
_NODE = "JOULEGRID_TEST_NODE"
_ACTORS = (b"ray::Worker", b"ray::Sampler")


def of_runs(head: RayHead, *names: bytes) -> list[int]:
    """Process ids of actors, zygotes and tasks of any run on this cluster; `names` look for one kind alone."""
    found = []
    for pid, command, surroundings in _carriers("JOULEGRID_TEST_CLUSTER", head.environment["JOULEGRID_TEST_CLUSTER"]):
        ours = command.startswith(_ACTORS) or b"JOULEGRID_NONCE=" in surroundings
        if ours and (not names or any(name in command for name in names)):
            found.append(pid)
    return sorted(found)


def _carriers(name: str, value: str) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (process id, command line, environment) of the living processes that have a variable."""
    mark = f"{name}={value}".encode()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and mark in (surroundings := (entry / "environ").read_bytes()):
                command = (entry / "cmdline").read_bytes()
                if command:
                    yield int(entry.name), command, surroundings


def children(pid: int) -> list[int]:
    """Process ids of a process' children."""
    with suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children()]
    return []


@dataclass(frozen=True, slots=True)
class Node:
    """A second node of the standing cluster."""

    raylet: int
    """Its raylet's process id."""


@contextmanager
def second_node(head: RayHead) -> Iterator[Node]:
    """Add a node with two CPUs to the cluster for the length of a block: its own raylet and ports on this machine."""
    place = Path(tempfile.mkdtemp(prefix="jg-", dir="/tmp"))
    nonce, log = secrets.token_hex(8), place / "start.log"
    options = {"address": head.gcs_address, "num-cpus": 2, "object-store-memory": 10**8, "node-ip-address": HOST}
    options |= {"dashboard-agent-listen-port": free_port()}
    ray = Path(sys.executable).parent / "ray"
    command = [str(ray) if ray.exists() else "ray", "start", *(f"--{name}={value}" for name, value in options.items())]
    surroundings = head.environment | {_NODE: nonce}
    with log.open("wb") as output:
        subprocess.run(command, env=surroundings, stdout=output, stderr=output, stdin=subprocess.DEVNULL, timeout=90)
    try:
        raylets = [pid for pid, line, _ in _carriers(_NODE, nonce) if b"/raylet\0" in line]
        assert raylets, log.read_text()[-3000:]
        yield Node(raylets[0])
    finally:
        while left := [pid for pid, _, _ in _carriers(_NODE, nonce)]:
            for pid in left:
                kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        shutil.rmtree(place, ignore_errors=True)


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
