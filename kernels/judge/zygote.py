"""The judge's end of its zygote: starts it, has it fork children, learns how they ended, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import joulegrid
from joulegrid.errors import PreFlightError
from joulegrid.kernels.judge import process_tree, protocol
from joulegrid.kernels.judge.limits import Limits
from joulegrid.kernels.judge.sandbox import Facts, Orders
from joulegrid.kernels.judge.scratch import ScratchRoot, make_root

START_PATIENCE_S = 120.0
FORK_PATIENCE_S = 20.0
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "THP_MEM_ALLOC_ENABLE": "1"}
"""Freshly allocated memory in large pages where the kernel gives them on request: which small ones a process happens to
get made equal processes differ by 5 to 9 % in their fastest series, with large ones by 2 to 5 %."""
MAIN = Path(__file__).with_name("zygote_main.py")


@dataclass(slots=True)
class Child:
    """A process that the zygote forked: its id, the judge's end of its socket, how it came to be confined."""

    pid: int
    channel: socket.socket
    scratch: Path
    facts: Facts


class Zygote:
    """A process with torch and triton imported that forks a child in some ten milliseconds. A context manager.

    Raises:
        PreFlightError: torch is missing, or the process does not come up.
    """

    def __init__(self, device: Literal["cpu", "cuda"] = "cpu", preload: Sequence[str] = ()) -> None:
        self.device = device
        self._preload = list(preload)  # such as torch._inductor, where every child would import it
        self.interpret = device == "cpu"
        self.versions: dict[str, str | None] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._scratch: ScratchRoot | None = None
        self._ended: dict[int, int] = {}

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The zygote's process id; 0 while none runs."""
        return 0 if self._process is None else self._process.pid

    def fork(self, limits: Limits) -> Child:
        """Return a new child that is confined and waits for orders; the zygote is started where none runs."""
        channel, root = self._started()
        scratch = root.folder()
        ours, theirs = socket.socketpair()
        ours.settimeout(FORK_PATIENCE_S)  # for what is sent to a child that does not read
        try:
            orders = json.dumps(asdict(self._orders(limits, scratch)))
            protocol.send(channel, {"fork": orders}, [theirs.fileno()])
            answer = self._answer(("started", "refused"), FORK_PATIENCE_S)
        except BaseException:  # interrupted, too: the answer to this would be taken for that to the next
            ours.close()
            self.close()
            raise
        finally:
            theirs.close()
        if "started" not in answer:
            ours.close()
            raise PreFlightError(f"the judge's zygote could not fork: {answer['refused']}")
        return Child(answer["started"]["pid"], ours, scratch, dict(answer["started"]["facts"]))

    def end(self, child: Child) -> int | None:
        """Kill a child with everything below it, remove its scratch folder; return how it ended (`os.waitpid`)."""
        child.channel.close()
        process_tree.end(child.pid)
        shutil.rmtree(child.scratch, ignore_errors=True)
        return self.status(child.pid, 2.0)

    def status(self, pid: int, patience_s: float) -> int | None:
        """Return the wait status of a child that ended, or `None` where it did not within the time."""
        deadline = time.monotonic() + patience_s
        with contextlib.suppress(protocol.Silent, protocol.Gone):
            while pid not in self._ended and self._channel is not None:
                self._note(protocol.receive(self._channel, deadline)[0])
        return self._ended.get(pid)

    def close(self) -> None:
        """End the zygote and everything below it."""
        if self._process is not None:
            process_tree.end(self._process.pid)
            self._process.wait()
            if self._process.stderr is not None:
                self._process.stderr.close()
            self._process = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._scratch is not None:
            self._scratch.remove()
            self._scratch = None

    def _started(self) -> tuple[socket.socket, ScratchRoot]:
        alive = self._process is not None and self._process.poll() is None
        if self._channel is not None and self._scratch is not None and alive:
            return self._channel, self._scratch
        self.close()
        root = self._scratch = make_root()
        ours, theirs = socket.socketpair()
        self._channel = ours
        arguments = [
            str(theirs.fileno()),
            json.dumps(_import_paths()),
            json.dumps(self._preload),
            "1" if self.interpret else "0",
            str(root.path),
        ]
        command = [sys.executable, "-I", "-S", "-B", str(MAIN), *arguments]
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
        environment |= {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        environment |= HUGE_PAGES
        with theirs:
            self._process = subprocess.Popen(
                command, env=environment, pass_fds=[theirs.fileno(), root.descriptor], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", start_new_session=True,
            )  # fmt: skip
        self.versions = self._answer(("ready",), START_PATIENCE_S)
        return ours, root

    def _answer(self, kinds: Sequence[str], patience_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + patience_s
        assert self._channel is not None
        try:
            while True:
                message, _ = protocol.receive(self._channel, deadline)
                if any(kind in message for kind in kinds):
                    return message
                self._note(message)
        except (protocol.Gone, protocol.Silent) as error:
            said = self._last_words()
            raise PreFlightError(f"the judge's zygote {'ended' if said else 'does not answer'}: {said}") from error

    def _last_words(self) -> str:
        assert self._process is not None
        process_tree.end(self._process.pid)
        text = self._process.communicate()[1].decode(errors="replace")
        return text.strip().splitlines()[-1] if text.strip() else ""

    def _note(self, message: dict[str, Any]) -> None:
        if "ended" in message:
            self._ended[message["ended"]] = message["status"]

    def _orders(self, limits: Limits, scratch: Path) -> Orders:
        return Orders(
            scratch=str(scratch),
            libraries=libraries(),
            secrets=secrets(),
            memory_bytes=limits.memory_bytes,
            scratch_bytes=limits.scratch_bytes,
            processes=limits.processes,
            threads=limits.threads,
            cpu_seconds=limits.cpu_seconds,
            device=self.device,
            interpret=self.interpret,
            cache=limits.cache,
        )


def _import_paths() -> list[str]:
    """Where installed packages are: of `sys.path` what is neither a checkout nor the working directory."""
    installed = [one for one in sys.path if one.endswith(("site-packages", "dist-packages"))]
    named = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return list(dict.fromkeys(one for one in (*installed, *named) if Path(one).is_dir()))


def libraries() -> list[str]:
    """What Python itself reads: interpreter, standard library, installed packages."""
    base = Path(os.path.realpath(sys.executable)).parent.parent
    interpreter = [base / "lib", base / "bin", *(Path(sys.prefix) / name for name in ("lib", "bin", "pyvenv.cfg"))]
    return list(
        dict.fromkeys(
            [sysconfig.get_path("stdlib"), *_import_paths(), sysconfig.get_path("include"), *map(str, interpreter)]
        )
    )


def secrets() -> list[str]:
    """Folders with Joulegrid's code, cases included, however it is installed."""
    found = []
    for place in joulegrid.__path__:
        root = Path(place).resolve()
        found += [root, *(entry.resolve() for entry in root.iterdir() if entry.is_symlink())]
        if not root.parent.name.endswith("-packages"):
            found.append(root.parent)  # a checkout, with its history
    return sorted({str(path) for path in found})
