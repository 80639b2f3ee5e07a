"""A Ray cluster over several hosts as `ray start` makes it: head on the first, token authentication, few cores."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from tests.cluster.hosts import Host, Network

PORT = 6379
RAY_WORDS = ("raylet", "gcs_server", "ray::", "/ray/")
"""What the command lines of Ray's processes hold, its workers' included; a task's own process has none of it."""


@dataclass(frozen=True, slots=True)
class RayHosts:
    """The standing cluster."""

    network: Network
    gpus: int = 0
    """That each host says it has."""

    @property
    def head(self) -> Host:
        return self.network.hosts[0]

    @property
    def other(self) -> Host:
        return self.network.hosts[1]

    @property
    def address(self) -> str:
        return f"{self.head.address}:{PORT}"

    def start(self, host: Host) -> None:
        """Start Ray on a host: the head, or a node that joins it."""
        place = ["--head", f"--port={PORT}", "--include-dashboard=false"] if host is self.head else []
        place = place or [f"--address={self.address}"]
        size = ["--num-cpus=1", f"--num-gpus={self.gpus}", f"--object-store-memory={10**8}"]
        done = host.run(["ray", "start", *place, f"--node-ip-address={host.address}", *size])
        assert done.returncode == 0, done.stdout + done.stderr


def kill_ray(host: Host) -> None:
    """SIGKILL every Ray process of a host, and of that host alone."""
    while host.kill(*RAY_WORDS):
        time.sleep(0.05)


def is_running(host: Host) -> bool:
    """Whether any Ray process is left on a host."""
    return any(word in command for command in host.processes().values() for word in RAY_WORDS)


def wait_until_ended(host: Host, limit_s: float = 60.0) -> None:
    """Wait until no Ray process is left on a host."""
    limit = time.monotonic() + limit_s
    while is_running(host):
        assert time.monotonic() < limit, host.processes()
        time.sleep(0.1)


def ray_environment() -> dict[str, str]:
    """What every Ray process and client of one cluster has to be told."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
    }
