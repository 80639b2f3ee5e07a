"""A Ray cluster of one node as `ray start --head` makes it: token authentication, a home and ports of its own."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.cluster.s3_servers import HOST, free_port

_NONCE = "JOULEGRID_TEST_CLUSTER"
STARTED = "Ray runtime started."
"""What `ray start` says when the node stands; on a busy machine it gives up after everything already answers."""


@dataclass(frozen=True, slots=True)
class RayHead:
    """Where the cluster answers, and the variables under which a client may talk to it."""

    jobs_address: str
    gcs_address: str
    environment: dict[str, str]


@contextlib.contextmanager
def ray_head(*, dashboard: bool = True) -> Iterator[RayHead]:
    """Start a head node; at the end exactly its processes are gone, also after a failure.

    Without its dashboard it takes no jobs, starts sooner and costs less while it stands.
    """
    place = Path(tempfile.mkdtemp(prefix="jg-", dir="/tmp"))  # short: the path of a Unix socket has 107 bytes
    nonce = secrets.token_hex(8)
    environment = _environment(place, nonce)
    gcs, jobs, agent, client = (free_port() for _ in range(4))
    ports = {
        "port": gcs,
        "dashboard-port": jobs,
        "dashboard-agent-listen-port": agent,
        "ray-client-server-port": client,
    }
    options = {
        **ports,
        "node-ip-address": HOST,
        "temp-dir": place / "t",
        "num-cpus": 2,
        "object-store-memory": 2 * 10**8,
        "include-dashboard": str(dashboard).lower(),
    }
    start = [sys.executable, "-u", "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command = [*start, *(f"--{name}={options[name]}" for name in options)]
    if setpriv := shutil.which("setpriv"):
        command = [setpriv, "--pdeathsig", "TERM", "--", *command]  # even when the tests themselves are killed
    log = place / "start.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        _wait_until(lambda: STARTED in log.read_text() and (not dashboard or _answers(jobs)), process, log)
        yield RayHead(f"http://{HOST}:{jobs}", f"{HOST}:{gcs}", environment)
    finally:
        _end(process, nonce)
        shutil.rmtree(place, ignore_errors=True)


def _environment(place: Path, nonce: str) -> dict[str, str]:
    """Our environment without paths to these sources: a job finds the package in what was uploaded, or installed."""
    (place / ".ray").mkdir()
    token = place / ".ray" / "auth_token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    own = {"HOME": str(place), "PATH": path, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", _NONCE: nonce}
    return kept | own


def _wait_until(up: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if up():
            return
        time.sleep(0.1)
    raise AssertionError(f"ray start did not come up:\n{log.read_text()[-3000:]}")


def _answers(port: int) -> bool:
    """Whether the dashboard answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("GET", "/api/version")
        connection.getresponse()
        return True
    return False


def _end(process: subprocess.Popen[bytes], nonce: str) -> None:
    """Ask the head to stop what it started, then kill whatever still carries the nonce in its environment."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    for _ in range(20):
        left = _carriers(nonce)
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        if not left:
            break
        time.sleep(0.1)
    process.wait(timeout=10)


def _carriers(nonce: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_NONCE) == nonce and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
