"""The judge's zygote: a process that has torch and triton imported and never a case, and forks one child per session.

Started as a file, `python -I -S -B zygote_main.py FD PATHS MODULES INTERPRET SCRATCH`: no site, no `.pth` files, no
environment; only this folder of Joulegrid can be imported, and nothing of it once what a child needs is. It
runs no tensor operation, since one parallel operation would make every fork hang. What it forked dies with it, and the
scratch folder goes when the judge is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
import types
from pathlib import Path
from typing import Any

PERSISTENCE_S = 10.0
_PACKAGES = ("joulegrid", "joulegrid.kernels", "joulegrid.kernels.judge")


def main(descriptor: int, paths: list[str], modules: list[str], interpret: bool, scratch: str) -> None:
    """Serve the judge until its end of the socket closes, and leave nothing behind."""
    sys.path += paths  # so far it holds the standard library alone
    if interpret:
        os.environ["TRITON_INTERPRET"] = "1"
    protocol, process_tree = _import_ours()
    try:
        _preload(modules)
        with contextlib.suppress(protocol.Gone):
            _serve(protocol, socket.socket(fileno=descriptor))
    finally:
        _leave_nothing(process_tree, scratch)


def _serve(protocol: Any, channel: socket.socket) -> None:
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans stay below the zygote
    wakeup = _wake_on_child()
    gc.collect()
    gc.freeze()  # collecting what the children share would copy its pages
    protocol.send(channel, {"ready": os.getpid(), "triton": _version("triton"), "torch": _version("torch")})
    while True:
        readable = select.select([channel.fileno(), wakeup], [], [])[0]
        if wakeup in readable:
            os.read(wakeup, 512)
            _report_ended(protocol, channel)
        if channel.fileno() in readable:
            message, descriptors = protocol.receive(channel)
            _fork(protocol, channel, message["fork"], descriptors)


def _import_ours() -> tuple[Any, Any]:
    """Import what a child needs from this folder, as the package that it is, without the rest of Joulegrid."""
    for name in _PACKAGES:
        module = types.ModuleType(name)
        module.__path__ = [str(Path(__file__).parent)] if name == _PACKAGES[-1] else []
        sys.modules[name] = module
    protocol = importlib.import_module("joulegrid.kernels.judge.protocol")
    process_tree = importlib.import_module("joulegrid.kernels.judge.process_tree")
    for name in ("child", "sandbox", "observers"):
        importlib.import_module(f"joulegrid.kernels.judge.{name}")
    sys.modules[_PACKAGES[-1]].__path__ = []
    return protocol, process_tree


def _preload(modules: list[str]) -> None:
    import torch
    import torch._dynamo
    import torch.utils._python_dispatch

    torch.set_num_threads(1)
    with contextlib.suppress(ImportError):  # a candidate in triton then says so
        import triton
        import triton.language
        import triton.runtime.interpreter  # noqa: F401
    for name in modules:
        importlib.import_module(name)


def _version(name: str) -> str | None:
    return getattr(sys.modules.get(name), "__version__", None)


def _fork(protocol: Any, channel: socket.socket, spec: str, descriptors: list[int]) -> None:
    """Fork twice: the process between makes the namespaces, whose first process the child is, and leaves."""
    reader, writer = os.pipe()
    gate = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.close(gate[1])
        _in_between(channel, spec, descriptors, (reader, writer), gate[0])
    os.close(writer)
    os.close(gate[0])
    for descriptor in descriptors:
        os.close(descriptor)
    told = b""
    while part := os.read(reader, 4096):
        told += part
    os.close(reader)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(middle, 0)
    os.close(gate[1])  # only now the child's parent is the zygote, whose death shall be the child's
    protocol.send(channel, {"started": json.loads(told)} if told else {"refused": "the process in between died"})


def _leave_nothing(process_tree: Any, scratch: str) -> None:
    """Clean up for a judge that is gone."""
    deadline = time.monotonic() + PERSISTENCE_S
    while process_tree.kill_below(os.getpid()) and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(1e-3)
    shutil.rmtree(scratch, ignore_errors=True)


def _in_between(channel: socket.socket, spec: str, descriptors: list[int], pipe: tuple[int, int], gate: int) -> None:
    from joulegrid.kernels.judge.sandbox import Orders, detach

    code = 70
    try:
        channel.close()
        os.close(pipe[0])
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        orders = Orders.read(json.loads(spec))
        facts = detach(orders)
        pid = os.fork()
        if pid == 0:
            _become_child(orders, descriptors, pipe[1], gate)
        os.write(pipe[1], json.dumps({"pid": pid, "facts": facts}).encode())
        code = 0
    finally:
        os._exit(code)


def _become_child(orders: Any, descriptors: list[int], pipe: int, gate: int) -> None:
    code = 70
    try:
        os.close(pipe)
        os.read(gate, 1)
        from joulegrid.kernels.judge.child import serve
        from joulegrid.kernels.judge.sandbox import confine

        channel = socket.socket(fileno=os.dup(descriptors[0]))
        serve(channel, confine(orders, channel.fileno()), orders)
        code = 0
    finally:
        os._exit(code)


def _report_ended(protocol: Any, channel: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        with contextlib.suppress(protocol.Gone):
            protocol.send(channel, {"ended": pid, "status": status})


def _wake_on_child() -> int:
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the judge's
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4] == "1", sys.argv[5])
