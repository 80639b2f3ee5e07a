"""The folder below which the children of one zygote have their scratch folders: whoever is killed, somebody removes it.

Judge and zygote both hold a lock on it. The zygote removes it when the judge is gone, and where both were killed the
next judge does, since the lock is gone with them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "joulegrid-scratch-"


@dataclass(frozen=True, slots=True)
class ScratchRoot:
    """A locked folder in the system's temporary one; the descriptor is the lock."""

    path: Path
    descriptor: int

    def folder(self) -> Path:
        """Make a new folder in it."""
        return Path(tempfile.mkdtemp(dir=self.path))

    def remove(self) -> None:
        """Remove it with everything in it, and give the lock back."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.descriptor)


def make_root() -> ScratchRoot:
    """Make a folder and lock it, once those are removed that nobody holds a lock on."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _remove_if_left(path)
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():  # nobody took it for one that was left before the lock was there
            return ScratchRoot(path, descriptor)
        os.close(descriptor)


def _remove_if_left(path: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)
