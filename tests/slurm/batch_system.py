"""A SLURM of three nodes on this machine: real munged, slurmctld and slurmd, each node a host of its own.

A node has network, PID, mount and UTS namespaces of its own: an address, a name, a `/tmp`, and no view of other
processes (`ray stop`, with which `ray symmetric-run` ends, would otherwise end every Ray of this machine). The
namespaces have no names: they vanish with the processes that hold them, whatever becomes of the test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
NODES = ("n1", "n2", "n3")
NETWORK = "10.213.77"  # seen inside the namespaces only
PROGRAMS = {
    **dict.fromkeys(("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel"), "slurm-wlm"),
    "munged": "munge",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}


@dataclass(frozen=True, slots=True)
class BatchSystem:
    """A running SLURM. Commands are run on its login host, which shares files with the nodes except for `/tmp`."""

    shared: Path
    """A folder that all hosts see, with a blank in its name."""
    environment: dict[str, str]
    _enter: tuple[str, ...]

    def run(self, *command: str, timeout_s: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the login host and return what it said."""
        environment = self.environment | variables
        return subprocess.run(
            [*self._enter, *command],
            cwd=self.shared,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def said(self, *command: str) -> str:
        """Run a command that must succeed; return its stdout without surrounding blanks."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """What `scontrol show job` says of a job."""
        words = self.said("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)


def missing_programs() -> list[str]:
    """Debian packages without which there is no batch system here."""
    return sorted({package for program, package in PROGRAMS.items() if _which(program) is None})


@contextlib.contextmanager
def batch_system() -> Iterator[BatchSystem]:
    """Start SLURM; at the end all its processes and files are gone, also after a failure."""
    place = Path(tempfile.mkdtemp(prefix="jg-slurm-", dir="/tmp"))
    place.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(_removed, place)
        stack.enter_context(_munged(place))
        login = stack.enter_context(_process(["unshare", "--net", "sleep", "infinity"], place / "login.log"))
        _wait_until(partial(_has_own_network, login.pid), "the login host has no network")
        _configure(place)
        enter = ("nsenter", f"--net=/proc/{login.pid}/ns/net")
        _switch(enter)
        stack.enter_context(_process([*enter, _program("slurmctld"), "-D", "-f", _conf(place)], place / "ctld.log"))
        for number, name in enumerate(NODES, start=1):
            node = stack.enter_context(_process(_node_command(place, name), place / f"{name}.log"))
            _wait_until(partial(_has_own_network, node.pid), f"{name} has no network")
            _cable(enter, node.pid, number)
        system = BatchSystem(_shared(place), _environment(place), enter)
        _wait_until(lambda: _idle(system), "the nodes do not answer", place)
        yield system


def _removed(place: Path) -> None:
    """Remove everything; the last processes of a namespace may still be writing for a moment."""
    for _ in range(50):
        shutil.rmtree(place, ignore_errors=True)
        if not place.exists():
            return
        time.sleep(0.1)


def _idle(system: BatchSystem) -> bool:
    return system.run("sinfo", "--noheader", "--format=%T %D").stdout.split() == ["idle", str(len(NODES))]


def _shared(place: Path) -> Path:
    shared = place / "shared files"
    shared.mkdir(exist_ok=True)
    return shared


def _environment(place: Path) -> dict[str, str]:
    """Our environment without a cluster; the commands of SLURM and the interpreter's own are on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    (place / "home").mkdir()
    own = {"PATH": path, "SLURM_CONF": _conf(place), "HOME": str(place / "home"), "PYTHONPATH": str(ROOT)}
    return kept | own | {"RAY_USAGE_STATS_ENABLED": "0"}


@contextlib.contextmanager
def _munged(place: Path) -> Iterator[None]:
    folder = place / "munge"
    folder.mkdir(mode=0o755)
    key = folder / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    files = {"socket": "socket", "key-file": "key", "log-file": "log", "pid-file": "pid", "seed-file": "seed"}
    options = [f"--{option}={folder / name}" for option, name in files.items()]
    with _process([_program("munged"), "--foreground", "--force", *options], place / "munged.out"):
        _wait_until(lambda: (folder / "socket").exists(), "munged does not answer", place)
        yield


def _configure(place: Path) -> None:
    for folder in ("state", "spool", *(f"spool/{name}" for name in NODES)):
        (place / folder).mkdir()
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={name} NodeAddr={NETWORK}.{number} CPUs=2"
        for number, name in enumerate(NODES, start=1)
    )
    Path(_conf(place)).write_text(f"""\
ClusterName=jg
SlurmctldHost={socket.gethostname().partition(".")[0]}({NETWORK}.254)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge/socket
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool/%n
SlurmctldPidFile={place}/ctld.pid
SlurmdPidFile={place}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MpiDefault=none
MailProg=/bin/true
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""")
    hosts = "".join(f"{NETWORK}.{number} {name}\n" for number, name in enumerate(NODES, start=1))
    (place / "hosts").write_text(f"127.0.0.1 localhost\n{NETWORK}.254 login\n{hosts}")


def _node_command(place: Path, name: str) -> list[str]:
    """Become a host: a `/tmp` of its own in which only what hosts share is bound, names, and then slurmd."""
    kept = [place, *(path for path in (ROOT, Path(sys.prefix), Path(sys.base_prefix)) if path.is_relative_to("/tmp"))]
    shared = "\n".join(f'mkdir -p "$own{path}" && mount --bind "{path}" "$own{path}"' for path in dict.fromkeys(kept))
    script = f"""\
set -e
hostname {name}
own={place}/{name}
mkdir -p "$own/tmp"
{shared}
mount --rbind "$own/tmp" /tmp
mount --bind {place}/hosts /etc/hosts
ip link set lo up
until ip -o -4 addr show e0 2>/dev/null | grep -q inet; do sleep 0.05; done
{_program("slurmd")} -D -N {name} -f {_conf(place)} &
wait  # the first process of a namespace buries orphans; slurmd would leave zombies, and `ray stop` waits for those
"""
    spaces = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--ipc"]
    return ["unshare", *spaces, "bash", "-c", script]


def _switch(enter: Sequence[str]) -> None:
    for command in (
        "link set lo up",
        "link add br0 type bridge",
        f"addr add {NETWORK}.254/24 dev br0",
        "link set br0 up",
    ):
        _checked(*enter, _program("ip"), *command.split())


def _cable(enter: Sequence[str], pid: int, number: int) -> None:
    inside = ("nsenter", f"--net=/proc/{pid}/ns/net")
    _checked(*enter, _program("ip"), *f"link add v{number} type veth peer name e0 netns {pid}".split())
    _checked(*enter, _program("ip"), *f"link set v{number} master br0 up".split())
    _checked(*inside, _program("ip"), *["link", "set", "e0", "up"])
    _checked(*inside, _program("ip"), *f"addr add {NETWORK}.{number}/24 dev e0".split())


def _checked(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that dies with this one, even when this one is killed."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def _has_own_network(pid: int) -> bool:
    return Path(f"/proc/{pid}/ns/net").stat().st_ino != Path("/proc/self/ns/net").stat().st_ino


def _wait_until(condition: Callable[[], bool], complaint: str, place: Path | None = None) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    logs = "".join(f"\n{log.name}:\n{log.read_text()[-1500:]}" for log in place.glob("*.log")) if place else ""
    raise AssertionError(complaint + logs)


def _conf(place: Path) -> str:
    return str(place / "slurm.conf")


def _which(program: str) -> str | None:
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))


def _program(name: str) -> str:
    found = _which(name)
    assert found is not None, name
    return found
