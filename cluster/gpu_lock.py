"""A lock per GPU on each node, so that two runs never share one: `/tmp/joulegrid-{UUID}.lock`, held with `flock`.

The kernel drops it with its process, however that ends. The file tells who holds it, where its user may write it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from joulegrid.cluster.node import read_text
from joulegrid.errors import PreFlightError

FOLDER = Path("/tmp")  # noqa: S108 - not TMPDIR: a batch system gives each job another one
OWNER_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a GPU."""

    pid: int
    run: str
    """Name of the run's folder."""


def lock_gpus(uuids: Iterable[str], run: str = "") -> list[IO[str]]:
    """Take GPUs (or MIG instances) for this process on this node: all of them or none.

    In the order of their names, so that two runs which want the same ones do not each take half. Keep the files open;
    closing them gives the GPUs back. `PreFlightError` with the owner where another run holds one.
    """
    with contextlib.ExitStack() as taken:
        files = [taken.enter_context(_lock(uuid, run)) for uuid in sorted(set(uuids))]
        taken.pop_all()
    return files


def _lock(uuid: str, run: str) -> IO[str]:
    path = FOLDER / f"joulegrid-{uuid.replace('/', '_')}.lock"
    try:
        file = os.fdopen(_open(path))
    except OSError as error:
        message = f"GPU {uuid}: its lock {path} cannot be opened ({error.strerror}); remove that file"
        raise PreFlightError(message) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held = f"GPU {uuid} is held by another run on this node{_by(file)}; wait for it, or leave that GPU out"
        file.close()
        raise PreFlightError(held) from error
    _sign(path, Owner(os.getpid(), run))
    return file


def _open(path: Path) -> int:
    """Every user of the node can lock the file, and only who made it can write it.

    It is created only where it is missing: in a sticky folder Linux refuses O_CREAT on a file of somebody else.
    """
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.fchmod(descriptor, 0o644)  # whatever the umask
    return descriptor


def _sign(path: Path, owner: Owner) -> None:
    """Write the owner into the lock's file; on another user's file that is refused, and the PID alone is known then."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(asdict(owner)))


def _by(file: IO[str]) -> str:
    """Name the holder: the PID by the kernel's own table, the run by the file if that very process has written it."""
    pid, signed = _holder(file), _signed(file)
    if (signed is not None and signed.pid == pid) or (signed and pid is None and Path(f"/proc/{signed.pid}").exists()):
        return f" (PID {signed.pid}, run {signed.run or 'unknown'})"
    return f" (PID {pid})" if pid is not None else ""


def _holder(file: IO[str]) -> int | None:
    """Look the file up in `/proc/locks`: `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`."""
    inode = os.fstat(file.fileno()).st_ino
    for line in (read_text(Path("/proc/locks")) or "").splitlines():
        fields = line.split()
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
            return int(fields[4]) if int(fields[4]) > 0 else None  # 0 or less: in another PID namespace
    return None


def _signed(file: IO[str]) -> Owner | None:
    try:
        return Owner(**json.loads(os.pread(file.fileno(), OWNER_BYTES, 0)))
    except (OSError, ValueError, TypeError):
        return None
