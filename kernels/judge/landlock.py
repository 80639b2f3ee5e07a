"""Landlock: the files that a process may open from now on, and no TCP, no signals to others. Linux ≥5.13, x86 and ARM.

Rules are hierarchies of files; there is no way to take something out of an allowed one, so `rules_without` allows its
siblings one by one. Source: the kernel's Documentation/userspace-api/landlock.rst. Standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
READ = _EXECUTE | _READ_FILE | _READ_DIR
_ONLY_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights to files an ABI knows; later ones know no more."""


def abi() -> int:
    """Return Landlock's ABI on this kernel; 0 where it is absent or switched off."""
    return max(0, _syscall(_CREATE_RULESET, None, 0, 1))


def restrict(
    readable: Sequence[Path], writable: Sequence[Path], devices: Sequence[Path] = (), listable: Sequence[Path] = ()
) -> int:
    """Confine this process for ever to reading and writing below these paths; return the ABI that did it.

    Raises:
        OSError: where the kernel refuses, Landlock absent included.
    """
    version = abi()
    every = (1 << _RIGHTS_BY_ABI[min(version, 5)]) - 1 if version else 0
    ruleset = struct.pack("<QQQ", every, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    handle = _checked(_syscall(_CREATE_RULESET, ruleset[:size], size, 0), "landlock_create_ruleset")
    try:
        wide = every & ~_EXECUTE
        for paths, rights in ((readable, READ), (writable, wide), (devices, wide), (listable, _READ_DIR)):
            for path in paths:
                _allow(handle, path, rights & every)
        _checked(_syscall(_RESTRICT_SELF, handle, 0), "landlock_restrict_self")
    finally:
        os.close(handle)
    return version


def rules_without(root: Path, excluded: Sequence[Path]) -> Iterator[Path]:
    """Yield paths that together are `root` without the excluded ones; all are resolved."""
    if root in excluded or not root.exists():
        return
    if not any(root in path.parents for path in excluded):
        yield root
        return
    for entry in sorted(root.iterdir()):
        if not entry.is_symlink():
            yield from rules_without(entry, excluded)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # what is not there needs no rule
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= _ONLY_FILES
        if not rights:
            return
        rule = struct.pack("<Qi", rights, handle)
        _checked(_syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0), f"landlock_add_rule({path})")
    finally:
        os.close(handle)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    converted = [ctypes.c_long(one) if isinstance(one, int) else ctypes.c_char_p(one) for one in arguments]
    return int(libc.syscall(ctypes.c_long(number), *converted))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
