"""A seccomp filter: system calls that no kernel needs fail with EPERM. x86-64 and ARM64. Standard library alone.

Landlock covers files and TCP; this covers the rest: other sockets, tracing, namespaces, shared memory that outlives its
maker, signals to others, real-time priorities, and on request every new process: `RLIMIT_NPROC` stops no fork bomb of
root's.
Numbers: the kernel's arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_CLONE_THREAD = 0x10000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_X32 = 0x40000000

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_ALWAYS = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_by_handle_at": (304, 265), "init_module": (175, 105),
    "finit_module": (313, 273), "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "sched_setscheduler": (144, 119), "sched_setattr": (314, 274), "memfd_secret": (447, 447), "personality": (135, 92),
}  # fmt: skip
_ALONE = {"socket": (41, 198), "memfd_create": (319, 279), "execve": (59, 221), "execveat": (322, 281)}
"""Refused to a child that may start no process."""
_FORKS = (57, 58)
"""fork and vfork, which only x86 has."""
_SIGNALLING = ((62, 129), (234, 131))
"""kill and tgkill: a process may signal itself, as `abort` does, and nobody else."""
_CLONE, _CLONE3, _PRCTL = (56, 220), (435, 435), (157, 167)


def refuse_calls(*, processes: bool, threads: bool = True) -> None:
    """Install the filter for this process and all that it starts; `processes` and `threads` allow it to start some.

    Raises:
        OSError: where the kernel or the machine knows no such filter. `PR_SET_NO_NEW_PRIVS` must be set before.
    """
    if platform.machine() not in _MACHINES:
        raise OSError(_ENOSYS, f"no table of system calls for {platform.machine()}")
    architecture, column = _MACHINES[platform.machine()]
    program = _program(architecture, column, processes=processes, threads=threads)
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: a count, padding, a pointer
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(22, 2, ctypes.c_char_p(header), 0, 0) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_SECCOMP): {os.strerror(number)}")


def _program(architecture: int, column: int, *, processes: bool, threads: bool) -> bytes:
    steps = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER)]
    if column == 0:
        steps += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    denied = [numbers[column] for numbers in (_ALWAYS if processes else _ALWAYS | _ALONE).values()]
    if column == 0 and not processes:
        denied += _FORKS
    if not processes and not threads:
        denied.append(_CLONE[column])
    for number in denied:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    for numbers in _SIGNALLING:
        steps += [(_EQUAL, 0, 4, numbers[column]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_EQUAL, 1, 0, os.getpid())]
        steps += [(_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)]
    prctl, clone = _PRCTL[column], _CLONE[column]
    steps += [(_EQUAL, 0, 5, prctl), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_EQUAL, 1, 0, _PR_SET_PDEATHSIG)]
    steps += [(_EQUAL, 0, 1, _PR_SET_DUMPABLE), (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)]
    if not processes:
        # clone3 keeps its flags in memory, which no filter sees: the C library falls back to clone.
        steps += [(_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
        steps += [(_EQUAL, 0, 3, clone), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_ANY_BIT, 1, 0, _CLONE_THREAD)]
        steps += [(_RETURN, 0, 0, _ERRNO | _EPERM)]
    steps += [(_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
