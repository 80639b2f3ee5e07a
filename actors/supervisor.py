"""The worker's side of a task's process: start it, hold it to its limit, end its whole tree, collect what it left.

No Ray, no sensor, no store: only processes. One supervisor serves one lane, one task at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from joulegrid.actors.attempt import artifacts_in
from joulegrid.actors.child import Launch, Spec
from joulegrid.actors.ending import Ending, Killed, ending_of, is_report, read_report
from joulegrid.actors.logs import LogBuffer
from joulegrid.actors.tree import end_tree, kill_marked
from joulegrid.actors.zygote import MESSAGE_LIMIT
from joulegrid.cluster.memory_kills import memory_kills
from joulegrid.jsontypes import Json

START_LIMIT_S = 180.0
"""A zygote that has not imported its modules by then never will (torch and transformers take 5 s, cold disks 60 s)."""

LOOK_S = 0.1
"""How often a running task's report and a wish to cancel it are looked for."""
TEARDOWN_S = 5.0
"""How long a process may live on once its report is written: giving back 100 GB of a GPU takes 2 s."""
REAP_LIMIT_S = 10.0


class ZygoteError(Exception):
    """The zygote died, refused or did not come up: the fault of the machine or ours, not of the task."""


class ZygoteStartError(ZygoteError):
    """The zygote did not come up: nothing can run on this lane."""


class Supervisor:
    """Runs the tasks of one lane, each in a fresh process forked (or spawned) by the lane's zygote."""

    def __init__(self, isolation: str, preload: tuple[str, ...], cpus: tuple[int, ...]) -> None:
        self.isolation = isolation
        self.preload = preload
        self.cpus = cpus
        self.scratch = Path(tempfile.mkdtemp(prefix="joulegrid-"))
        self.nonce = secrets.token_hex(8)
        self.pid: int | None = None
        """Process id of the running task."""
        self._zygote: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._log: LogBuffer | None = None
        self._cancelled = threading.Event()
        self._progress = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._progress.bind(f"\0joulegrid-{self.nonce}")
        self._progress.setblocking(False)

    def start(self) -> None:
        """Bring the zygote up; does nothing while it lives. Raises `ZygoteError` when it does not come up."""
        if self._zygote is not None and self._zygote.poll() is None:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = [str(theirs.fileno()), self.isolation, ",".join(self.preload)]
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "joulegrid.actors.zygote", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            env=self._environment(),
            start_new_session=True,
        )
        theirs.close()
        assert self._zygote.stdout is not None
        self._channel, self._log = ours, LogBuffer(self._zygote.stdout)
        with contextlib.suppress(OSError):
            os.sched_setaffinity(self._zygote.pid, self.cpus or os.sched_getaffinity(0))
        try:
            ready = self._receive(time.monotonic() + START_LIMIT_S)
        except ZygoteError as error:
            self.stop()
            raise ZygoteStartError(str(error)) from error
        if ready is None:
            self.stop()
            raise ZygoteStartError(f"the zygote did not come up: {self._log.take()[-2_000:]}")

    def renew(self) -> None:
        """Replace the zygote by a new one, so that repetitions share no process."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """End the zygote and everything below it."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._zygote is not None:
            end_tree(self._zygote.pid)
            self._zygote.kill()
            self._zygote.wait()
            self._zygote = None
            kill_marked(self.nonce)

    def close(self) -> None:
        """End everything and remove the scratch folder."""
        self.stop()
        self._progress.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def cancel(self) -> None:
        """Kill the running task, from another thread."""
        self._cancelled.set()

    def arm(self) -> None:
        """Forget what was cancelled before: from now on `cancel` means the next task."""
        self._cancelled.clear()

    @property
    def cancelled(self) -> bool:
        """Whether the task was cancelled."""
        return self._cancelled.is_set()

    def run(self, launch: Launch, on_start: Callable[[int], object] | None = None) -> Ending:
        """Run one task to its end. `on_start(pid)` is called as soon as the process exists.

        Raises:
            ZygoteError: when the zygote died or refused; the task may be tried again.
        """
        self.start()
        self.scratch.mkdir(exist_ok=True)  # a task may have removed more than its own
        folder = Path(tempfile.mkdtemp(dir=self.scratch, prefix="task-"))
        (folder / "artifacts").mkdir()
        spec = self._spec(launch, folder)
        spec.write(folder / "spec.json")
        kills, ordered_ns = self._memory_kills(), time.monotonic_ns()
        self._send(run=str(folder / "spec.json"))
        try:
            ending = self._supervise(launch, Path(spec.report), ordered_ns, on_start)
        finally:
            self.pid = None
            escaped, left = self._clear_tree()
        starved = ending.killed is None and ending.signal == signal.SIGKILL and self._memory_kills() != kills
        return replace(
            ending,
            report=read_report(Path(spec.report)),
            log=self._taken_log(),
            escaped=escaped,
            unkilled=left,
            memory_kill=starved,
        )

    def last_progress(self) -> dict[str, Json] | None:
        """Return the newest progress datagram of the running task."""
        newest = None
        with contextlib.suppress(BlockingIOError):
            while True:
                newest = self._progress.recv(4_096)
        try:
            progress = json.loads(newest or b"null")
            return {"done": float(progress["done"]), "total": float(progress["total"]), "note": str(progress["note"])}
        except (ValueError, TypeError, KeyError):
            return None  # nothing new, or not what our probe sends

    def artifacts(self) -> list[tuple[str, Path]]:
        """Return files that the last task left to be kept, by their name beside the result."""
        folders = sorted(self.scratch.glob("task-*"), key=lambda path: path.stat().st_mtime)
        return artifacts_in(folders[-1]) if folders else []

    def forget_task(self) -> None:
        """Remove the folders of ended tasks."""
        for folder in self.scratch.glob("task-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _spec(self, launch: Launch, folder: Path) -> Spec:
        return Spec(
            experiment=launch.experiment,
            inputs=launch.inputs,
            fingerprints=launch.fingerprints,
            lane=launch.lane,
            scratch=str(folder),
            report=str(folder / "report.json"),
            progress=f"joulegrid-{self.nonce}",
            seed=launch.seed,
            marks=launch.marks,
        )

    def _supervise(
        self, launch: Launch, report: Path, ordered_ns: int, on_start: Callable[[int], object] | None
    ) -> Ending:
        limit_s = None if launch.timeout_s is None else ordered_ns / 1e9 + launch.timeout_s
        killed: Killed | None = None
        started = self._expect("started", limit_s)
        if started is None:  # its limit is shorter than its start; the fork is on its way all the same
            killed = "cancelled" if self.cancelled else "timeout"
            started = self._expect("started", time.monotonic() + REAP_LIMIT_S, heed_cancel=False)
        if started is None:
            raise ZygoteError("the zygote did not start the task in time")
        self.pid = pid = int(started["started"])
        if on_start is not None and killed is None:
            on_start(pid)
        ended: dict[str, Any] | None = None
        if killed is None:
            ended, killed = self._await_end(pid, limit_s, report)
        if ended is None:
            self._clear_tree()
            ended = self._expect("ended", time.monotonic() + REAP_LIMIT_S, pid, heed_cancel=False) or {}
        return ending_of(ended, killed, ordered_ns)

    def _await_end(self, pid: int, limit_s: float | None, report: Path) -> tuple[dict[str, Any] | None, Killed | None]:
        """Wait for the end of a task's process: until its limit, or a moment longer than its report needed."""
        until_s, written = limit_s or float("inf"), False
        while True:
            ended = self._expect("ended", min(until_s, time.monotonic() + LOOK_S), pid)
            if ended is not None:
                return ended, None
            if self.cancelled:
                return None, "cancelled"
            if not written and is_report(report):
                written, until_s = True, min(until_s, time.monotonic() + TEARDOWN_S)
            if time.monotonic() >= until_s:
                return None, "teardown" if written else "timeout"

    def _expect(
        self, word: str, deadline: float | None, pid: int | None = None, *, heed_cancel: bool = True
    ) -> dict[str, Any] | None:
        """Wait for the zygote's message with this word (about this process); `None` at the deadline or on cancel."""
        while not (heed_cancel and self._cancelled.is_set()):
            message = self._receive(min(deadline or float("inf"), time.monotonic() + LOOK_S))
            if message is not None:
                if "refused" in message:
                    raise ZygoteError(message["refused"])
                if word in message and pid in (None, message[word]):
                    return message
            elif deadline is not None and time.monotonic() >= deadline:
                return None
        return None

    def _receive(self, deadline: float) -> dict[str, Any] | None:
        channel = self._channel
        if channel is None or channel.fileno() < 0:
            raise ZygoteError("the lane was closed")
        try:
            readable, _, _ = select.select([channel], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                return None
            message = channel.recv(MESSAGE_LIMIT)
        except (OSError, ValueError):  # the other end is gone, or another thread has closed this one
            message = b""
        if not message:
            raise ZygoteError(f"the zygote died: {self._taken_log()[-2_000:]}")
        value: dict[str, Any] = json.loads(message)
        return value

    def _send(self, **message: Any) -> None:
        if self._channel is None:
            raise ZygoteError("the lane was closed")
        try:
            self._channel.send(json.dumps(message).encode())
        except OSError as error:
            raise ZygoteError(f"the zygote is gone: {error}") from error

    def _clear_tree(self) -> tuple[int, int]:
        """Kill all that the task left, as `end_tree`; a zygote that lives keeps every escapee below it."""
        if self._zygote is None:
            return 0, 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._zygote.pid, signal.SIGCONT)  # the task may have stopped it
        return end_tree(self._zygote.pid)

    def _memory_kills(self) -> int | None:
        """Count the kernel's kills for lack of memory so far, where the tasks are (the zygote's cgroup is theirs)."""
        return memory_kills(self._zygote.pid) if self._zygote is not None else None

    def _taken_log(self) -> str:
        return self._log.take() if self._log is not None else ""

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return kept | {
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            "PYTHONUNBUFFERED": "1",
            "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # torch asks NVML whether there is a GPU, and opens no context
            "TOKENIZERS_PARALLELISM": "false",  # its thread pool would not survive the fork
            "OMP_NUM_THREADS": str(max(1, len(self.cpus))),  # Ray sets 1 for its own processes
            "JOULEGRID_NONCE": self.nonce,
        }
