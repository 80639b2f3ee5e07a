"""Several real hosts on one machine, each with its own address, hostname, /tmp, processes and shared memory.

A host is a set of Linux namespaces (network, mount, PID, IPC, UTS) whose first process is its init; the hosts hang on a
bridge that lies in a network namespace of its own, as on a switch. Killing the inits ends every process of the hosts,
and the kernel then removes interfaces and mounts: nothing has to be tidied, even when the tests are killed themselves.
Linux, root, iproute2 and util-linux are needed. They share kernel, clock, cores and the rest of the file system.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.checkout import ROOT

TOOLS = ("ip", "nsenter", "setpriv", "taskset", "unshare")
NOWHERE = "02:00:00:00:00:99"
"""A hardware address that nobody has: what is sent there is lost without a word."""


def missing() -> str | None:
    """Why there can be no hosts here; `None` where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(absent)} (iproute2, util-linux)" if absent else None


@dataclass
class Host:
    """One host. Commands run inside it; its files are seen from outside below `root`."""

    name: str
    address: str
    init: int
    """Its first process, in the machine's own numbering."""
    cpu: int
    switch: int
    port: str
    """Its end of the cable in the switch."""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The host's file system, seen from outside."""
        return Path(f"/proc/{self.init}/root")

    def command(self, command: list[str]) -> list[str]:
        """Return what runs a command inside: pinned to the host's core, killed when its caller dies."""
        inside = ["nsenter", f"--target={self.init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--"]
        bound = ["setpriv", "--pdeathsig", "KILL", "--", "taskset", "--cpu-list", str(self.cpu)]
        return [*inside, "sh", "-c", 'cd /tmp && exec "$@"', "sh", *bound, *command]

    def run(self, command: list[str], timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command inside and wait for it; its return code is the caller's business."""
        return subprocess.run(
            self.command(command),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def processes(self) -> dict[int, str]:
        """Return the host's processes but its init: pid outside → command line."""
        mine, found = _pid_namespace(self.init), {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.init and _pid_namespace(int(entry.name)) == mine:
                with contextlib.suppress(OSError):
                    if command := (entry / "cmdline").read_bytes():  # a zombie has none
                        found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
        return found

    def carrying(self, text: str) -> list[int]:
        """Return the host's processes whose environment holds a text."""
        found = []
        for pid in self.processes():
            with contextlib.suppress(OSError):
                if text.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                    found.append(pid)
        return found

    def kill(self, *words: str) -> int:
        """SIGKILL the host's processes whose command line holds one of the words; return how many."""
        killed = 0
        for pid, command in self.processes().items():
            if any(word in command for word in words):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
        return killed

    def cut(self) -> None:
        """Pull the cable."""
        _ip(self.switch, "link", "set", self.port, "down")

    def restore(self) -> None:
        """Put the cable back."""
        _ip(self.switch, "link", "set", self.port, "up")


def part(one: Host, other: Host) -> None:
    """Let two hosts lose every packet to each other, while both still reach all others."""
    _ip(one.init, "neigh", "replace", other.address, "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent")
    _ip(other.init, "neigh", "replace", one.address, "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent")


def rejoin(one: Host, other: Host) -> None:
    """End what `part` did."""
    _ip(one.init, "neigh", "del", other.address, "dev", "eth0")
    _ip(other.init, "neigh", "del", one.address, "dev", "eth0")


@dataclass(frozen=True, slots=True)
class Network:
    """Hosts on one switch. `outside` is this machine's own address there; `shared` is one folder under one path."""

    hosts: list[Host]
    outside: str
    shared: Path


@contextlib.contextmanager
def network(count: int, **variables: str) -> Iterator[Network]:
    """Make hosts; `variables` join the environment of what runs in them. At the end nothing of them is left."""
    place = Path(tempfile.mkdtemp(prefix="jg-"))
    subnet, cable = _free_subnet(), f"jg{os.getpid()}"
    _furnish(place, subnet, count)
    with contextlib.ExitStack() as standing:
        standing.callback(shutil.rmtree, place, ignore_errors=True)
        standing.callback(_wait_until_gone, Path(f"/sys/class/net/{cable}"))
        switch = standing.enter_context(_process(["unshare", "--net", "--", "sh", "-c", _SWITCH]))
        outside = _plug_in_outside(switch, subnet, cable)
        hosts = []
        for number in range(1, count + 1):
            boot = _boot(_name(number), place)
            init = standing.enter_context(_process([*_UNSHARE, "sh", "-c", boot], forks=True))
            hosts.append(_plug_in(init, switch, number, subnet))
            hosts[-1].environment = _environment() | variables
        yield Network(hosts, outside, place / "shared")


_SWITCH = "ip link add br0 type bridge && ip link set br0 up && echo ready && exec sleep infinity"
_UNSHARE = [
    "unshare",
    *("--mount", "--uts", "--ipc", "--net", "--pid"),
    *("--fork", "--kill-child=KILL", "--mount-proc"),
]


def _name(number: int) -> str:
    return f"jg{number}-{os.getpid()}"


def _furnish(place: Path, subnet: ipaddress.IPv4Network, count: int) -> None:
    """Make the folders and files that hosts find at other paths: they know each other's names and ask nobody else."""
    (place / "shared").mkdir()
    (place / "tmp").mkdir()
    names = [f"{subnet[number]} {_name(number)}" for number in range(1, count + 1)]
    (place / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names, ""]))
    (place / "resolv.conf").write_text("nameserver 127.0.0.1\n")  # refuses at once; a lost question costs 5 s each


def _boot(name: str, place: Path) -> str:
    """The init's script: a /tmp with nothing in it but what must be seen, own shared memory, a name.

    It leaves children that nobody waits for to the kernel, as an init does: a dead raylet that stayed a zombie would
    be taken for alive by Ray for a long time.
    """
    stage = place / "tmp"
    files = [f"mount --bind {place}/{name} /etc/{name}" for name in ("hosts", "resolv.conf")]
    lines = [*files, f"hostname {name}", f"mount -t tmpfs -o mode=1777 tmpfs {stage}"]
    for path in _seen_below_tmp(place / "shared"):
        inside = shlex.quote(f"{stage}/{path.relative_to('/tmp')}")
        lines += [f"mkdir -p {inside}", f"mount --bind {shlex.quote(str(path))} {inside}"]
    lines += [f"mkdir {stage}/home", f"mount --move {stage} /tmp", "mount -t tmpfs tmpfs /dev/shm"]
    return "\n".join(["set -e", *lines, "ip link set lo up", "trap '' CHLD", "echo ready", "exec sleep infinity"])


def _seen_below_tmp(shared: Path) -> list[Path]:
    """Folders below /tmp that a host shares with the machine: the interpreter and the sources, where they lie there."""
    paths = dict.fromkeys([shared.resolve(), ROOT.resolve(), Path(sys.prefix), Path(sys.base_prefix)])
    return [path for path in paths if path.is_relative_to("/tmp")]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_", "JOULEGRID_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return kept | {"HOME": "/tmp/home", "TMPDIR": "/tmp", "PATH": path, "PYTHONPATH": str(ROOT)}


def _plug_in(init: int, switch: int, number: int, subnet: ipaddress.IPv4Network) -> Host:
    port, address = f"p{number}", str(subnet[number])
    _ip(None, "link", "add", port, "netns", str(switch), "type", "veth", "peer", "eth0", "netns", str(init))
    _ip(switch, "link", "set", port, "master", "br0", "up")
    _ip(init, "address", "add", f"{address}/24", "dev", "eth0")
    _ip(init, "link", "set", "eth0", "up")
    _ip(init, "route", "add", "default", "via", str(subnet[254]))  # Ray finds its own address by a route
    cpus = sorted(os.sched_getaffinity(0))
    return Host(_name(number), address, init, cpus[number % len(cpus)], switch, port)


def _plug_in_outside(switch: int, subnet: ipaddress.IPv4Network, cable: str) -> str:
    """Give this machine itself an address on the switch."""
    _ip(None, "link", "add", "p0", "netns", str(switch), "type", "veth", "peer", cable)
    _ip(switch, "link", "set", "p0", "master", "br0", "up")
    _ip(None, "address", "add", f"{subnet[254]}/24", "dev", cable)
    _ip(None, "link", "set", cable, "up")
    return str(subnet[254])


def _free_subnet() -> ipaddress.IPv4Network:
    """A /24 below 10.0.0.0/8 that no route of this machine touches; other sessions begin to look elsewhere."""
    routes = json.loads(subprocess.run(["ip", "-json", "route"], capture_output=True, check=True).stdout)
    taken = [ipaddress.ip_network(route["dst"]) for route in routes if route["dst"] != "default"]
    for attempt in range(200):
        number = (os.getpid() * 31 + attempt) % (200 * 256)
        subnet = ipaddress.IPv4Network(f"10.{40 + number // 256}.{number % 256}.0/24")
        if not any(subnet.overlaps(one) for one in taken if one.version == 4):
            return subnet
    raise AssertionError("no free subnet below 10.0.0.0/8")


@contextlib.contextmanager
def _process(command: list[str], *, forks: bool = False) -> Iterator[int]:
    """Hold a process that says `ready`; yields its pid, or where it `forks` that of its one child."""
    bound = ["setpriv", "--pdeathsig", "KILL", "--", *command]
    process = subprocess.Popen(bound, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n", "the namespaces could not be made; stderr says why"
        yield int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()) if forks else process.pid
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()


def _wait_until_gone(path: Path) -> None:
    limit_s = time.monotonic() + 10
    while path.exists():
        assert time.monotonic() < limit_s, f"{path} is still there"
        time.sleep(0.02)


def _ip(inside: int | None, *arguments: str) -> None:
    """Run `ip`, in the network namespace of a process."""
    entered = ["nsenter", f"--target={inside}", "--net", "--"] if inside else []
    done = subprocess.run([*entered, "ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


def _pid_namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None
