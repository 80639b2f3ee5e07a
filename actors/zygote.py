"""The zygote of one lane: a small process that has the workload's modules imported and forks itself for each task.

`python -m joulegrid.actors.zygote FD ISOLATION MODULE,…`, started by the worker. It runs no tensor operation (one
parallel operation and every forked child would hang) and never opens a GPU. It is a child subreaper: whatever a task
starts, however it detaches, stays below the zygote, where the worker finds it. When the worker dies, the socket
closes and the zygote kills everything below it and leaves.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from joulegrid.kernels.judge import process_tree

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MESSAGE_LIMIT = 65_536


def main(fd: int, isolation: str, modules: str) -> None:
    """Serve the worker until its end of the socket closes."""
    adopt_orphans()
    channel = socket.socket(fileno=fd)
    wakeup = _wake_on_child()
    if isolation == "zygote":
        _preload(modules.split(","))
        gc.freeze()  # the children share these objects; collecting them would copy their pages
    _send(channel, ready=os.getpid())
    while True:
        readable, _, _ = select.select([channel.fileno(), wakeup], [], [])
        if wakeup in readable:
            os.read(wakeup, 512)
            _report_ended(channel)
        if channel.fileno() in readable:
            message = channel.recv(MESSAGE_LIMIT)
            if not message:
                process_tree.kill_below(os.getpid())
                return
            _start(channel, isolation, json.loads(message)["run"])


def adopt_orphans() -> None:
    """Make this process the parent of whatever below it loses its own."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def open_gpu() -> str | None:
    """Return the device file of an open CUDA context, or `None`; a fork would share that context.

    CUDA opens `/dev/nvidia-uvm`; NVML, which some libraries ask while they are imported, opens the other files only.
    """
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(entry.readlink())
            if target.startswith("/dev/nvidia-uvm"):
                return target
    return None


def _preload(modules: list[str]) -> None:
    """Import what every task needs; nothing here may run a tensor operation or open a GPU."""
    for name in ("joulegrid.actors.child", "joulegrid.cases.registry", *filter(None, modules)):
        with contextlib.suppress(ImportError):  # the task itself says what is missing, as class `import`
            importlib.import_module(name)


def _start(channel: socket.socket, isolation: str, spec: str) -> None:
    device = open_gpu()
    if device is not None:
        _send(channel, refused=f"the zygote has {device} open: a module imported for this workload initialises the GPU")
        return
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_task(channel, parent, isolation, spec)
    _send(channel, started=pid)


def _become_task(channel: socket.socket, parent: int, isolation: str, spec: str) -> None:
    """In the forked process: die with the zygote, lead a session of its own, run the task, leave without teardown."""
    code = 70
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(code)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        channel.close()
        if isolation == "spawn":
            os.execv(sys.executable, [sys.executable, "-m", "joulegrid.actors.child", spec])  # noqa: S606 - no shell is meant
        from joulegrid.actors.child import main as run_task

        run_task(spec)
        sys.stdout.flush()
        sys.stderr.flush()
        code = 0
    except BaseException:  # noqa: BLE001 - our own fault before or after the task: its traceback goes into the log
        traceback.print_exc()
    finally:
        os._exit(code)


def _report_ended(channel: socket.socket) -> None:
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _send(channel, ended=pid, status=status, max_rss_bytes=usage.ru_maxrss * 1024)


def _wake_on_child() -> int:
    """Return a descriptor that becomes readable when a child ends."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver, which tells the workers
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _send(channel: socket.socket, **message: Any) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        channel.send(json.dumps(message).encode())


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
