"""What a child may do, decided before a line of a candidate runs. Every measure that this machine refuses is recorded.

Two steps: `detach` in the process between zygote and child (namespaces, a scratch folder of limited size), `confine` in
the child itself (descriptors, environment, limits, capabilities, Landlock, seccomp). Standard library alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulegrid.kernels.judge import landlock, seccomp

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 0x4000, 0x40000
_SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
)
_FACTS = (
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm",
    "/sys/devices/system",
    "/sys/fs/cgroup/cpu.max",
)
_GPU_FACTS = (
    "/proc/driver/nvidia",
    "/proc/devices",
    "/proc/modules",
    "/proc/version",
    "/proc/sys/kernel",
    "/sys/module",
    "/sys/bus/pci",
    "/sys/devices",
)

Facts = dict[str, bool | int | str | None]
"""What was had: true or a number; false with a reason under `<name>_reason` where it could not be had."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What the judge lets one child have."""

    scratch: str
    libraries: list[str]
    """Folders that Python imports from, and that hold the interpreter."""
    secrets: list[str]
    """Folders below them that must not be read: Joulegrid itself, the cases."""
    memory_bytes: int
    scratch_bytes: int
    processes: int
    """How many the child may start; 0 makes every attempt fail."""
    threads: int
    cpu_seconds: int
    device: str
    interpret: bool
    cache: str | None = None
    """A folder for compiled code that outlives the child; trusted code alone gets one."""
    staged: bool = False
    """Outputs are copied to where the judge wants them, as on a GPU."""
    driver: dict[str, str] = field(default_factory=dict)
    """Variables that a GPU's libraries need."""

    @classmethod
    def read(cls, values: dict[str, Any]) -> Orders:
        """Make orders of a message."""
        return cls(**values)


def detach(orders: Orders) -> Facts:
    """Leave the machine's process, network and mount namespaces, with a user namespace where rights need one."""
    facts: Facts = {}
    shared = orders.device == "cuda"
    kinds = _NEWNET | _NEWNS | (0 if shared else _NEWPID | _NEWIPC)
    uid, gid = os.getuid(), os.getgid()
    known = had = _try(facts, "namespaces", lambda: _libc("unshare", kinds))
    if not had:
        had = _try(facts, "user_namespace", lambda: _libc("unshare", kinds | _NEWUSER))
        known = had and _try(facts, "user_map", lambda: _map_user(uid, gid))
    facts |= {"pid_namespace": had and not shared, "network_namespace": had}
    if shared:
        facts["pid_namespace_reason"] = "a GPU's driver reads /proc, where other processes' numbers would stand"
    if known:
        _try(facts, "secrets_hidden", lambda: _hide(orders))
        _try(facts, "scratch_limited", lambda: _mount_scratch(orders))
    else:  # a file system of its own, or a user whom none of its files could belong to
        facts |= {"scratch_limited": False, "scratch_limited_reason": "the judge looks at its size now and then"}
    return facts


def confine(orders: Orders, channel: int) -> Facts:
    """Give up everything that a candidate does not need; nothing of it can be had back. Returns what was achieved."""
    facts: Facts = {"descriptors_closed": _close_all_but(channel), "environment_empty": _empty_environment(orders)}
    _try(facts, "first_to_go", _be_first_to_go)
    _try(facts, "limits", lambda: _limit(orders))
    _try(facts, "capabilities_dropped", _drop_capabilities)
    _try(facts, "no_new_privileges", lambda: _libc("prctl", 38, 1, 0, 0, 0))
    # After the credentials, whose change would undo it.
    _try(facts, "dies_with_zygote", lambda: _libc("prctl", 1, signal.SIGKILL, 0, 0, 0))
    _try(facts, "landlock_abi", lambda: _lock_files(orders))
    _try(facts, "seccomp", lambda: seccomp.refuse_calls(processes=orders.processes > 0, threads=_has_threads(orders)))
    return facts


def _lock_files(orders: Orders) -> int:
    secrets = [Path(one) for one in orders.secrets]
    roots = {Path(one).resolve() for one in (*orders.libraries, *_SYSTEM)}
    readable = [path for root in sorted(roots) for path in landlock.rules_without(root, secrets)]
    gpu = orders.device == "cuda"
    readable += [Path(one) for one in (*_FACTS, *(_GPU_FACTS if gpu else ()), "/proc/self")]
    devices = [Path("/dev/null"), Path("/dev/zero"), Path("/dev/urandom"), Path("/dev/random")]
    devices += sorted(Path("/dev").glob("nvidia*")) if gpu else []
    # Listing a folder of libraries is needed to import from it, reading what must stay hidden in it is not.
    writable = [Path(orders.scratch), *([Path(orders.cache)] if orders.cache else [])]
    return landlock.restrict(readable, writable, devices, listable=[Path(one) for one in orders.libraries])


def _has_threads(orders: Orders) -> bool:
    """A GPU's driver starts threads of its own."""
    return orders.threads > 1 or orders.device == "cuda"


def _close_all_but(channel: int) -> bool:
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.closerange(3, channel)
    os.closerange(channel + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    return True


def _empty_environment(orders: Orders) -> bool:
    os.environ.clear()
    os.environ.update(HOME=orders.scratch, TMPDIR=orders.scratch, PATH="/usr/local/bin:/usr/bin:/bin", LANG="C.UTF-8")
    os.environ["TRITON_CACHE_DIR"] = os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{orders.scratch}/cache"
    tempfile.tempdir = orders.scratch  # the zygote's libraries have asked already, with another answer
    if orders.cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = orders.cache
        os.environ["TRITON_CACHE_DIR"] = f"{orders.cache}/triton"
    os.environ.update(orders.driver)
    os.environ["OMP_NUM_THREADS"] = str(orders.threads)
    if orders.interpret:
        os.environ["TRITON_INTERPRET"] = "1"
    os.chdir(orders.scratch)
    return True


def _be_first_to_go() -> None:
    """Where memory runs out, the kernel shall end the child and not the judge."""
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _limit(orders: Orders) -> None:
    def limit(kind: int, value: int) -> None:
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))

    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_FSIZE, orders.scratch_bytes)
    limit(resource.RLIMIT_NOFILE, 256 if orders.processes == 0 else 4096)
    limit(resource.RLIMIT_CPU, orders.cpu_seconds)
    limit(resource.RLIMIT_DATA, _memory("VmData") + orders.memory_bytes)
    if orders.device != "cuda":  # CUDA reserves addresses by the terabyte
        limit(resource.RLIMIT_AS, _memory("VmSize") + orders.memory_bytes)
    if orders.processes:
        limit(resource.RLIMIT_NPROC, _tasks_of_user() + orders.processes)


def _memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def _tasks_of_user() -> int:
    """Threads of this user on the machine: what `RLIMIT_NPROC` counts, without a limit for root."""
    count = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == os.getuid():
                count += sum(1 for _ in (entry / "task").iterdir())
    return count


def _drop_capabilities() -> None:
    for capability in range(64):
        with contextlib.suppress(OSError):
            _libc("prctl", 24, capability, 0, 0, 0)  # PR_CAPBSET_DROP, which ends with EINVAL or without rights
    _libc("prctl", 47, 4, 0, 0, 0)  # PR_CAP_AMBIENT_CLEAR_ALL
    header = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0))
    _libc("capset", header, ctypes.create_string_buffer(24))


def _map_user(uid: int, gid: int) -> None:
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")


def _hide(orders: Orders) -> None:
    """Cover Joulegrid's folders with empty ones, for a kernel without Landlock."""
    _libc("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    libraries = [Path(one) for one in orders.libraries]
    for secret in map(Path, orders.secrets):
        if secret.is_dir() and not any(secret in (library, *library.parents) for library in libraries):
            _libc("mount", b"hidden", str(secret).encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"size=4k,mode=0500")


def _mount_scratch(orders: Orders) -> None:
    options = f"size={orders.scratch_bytes},nr_inodes=4096,mode=0700".encode()
    _libc("mount", b"scratch", orders.scratch.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, options)


def _try(facts: Facts, name: str, measure: Callable[[], int | None]) -> bool:
    try:
        result = measure()
    except (OSError, ValueError) as error:
        facts[name], facts[f"{name}_reason"] = False, str(error)
        return False
    facts[name] = True if result is None or result is True else result or True
    return True


def _libc(name: str, *arguments: Any) -> None:
    """Call a function of the C library that returns 0 on success; `OSError` otherwise."""
    libc = ctypes.CDLL(None, use_errno=True)
    converted = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in arguments]
    if getattr(libc, name)(*converted) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
