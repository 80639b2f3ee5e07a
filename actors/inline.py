"""Tasks inside the worker itself: no process of their own, no protection. For many tiny trusted tasks.

It takes the place of a `Supervisor`. Working folder, `sys.path`, `sys.argv` and `__main__` are put back after each
task; everything else that a task changes in the interpreter stays changed for the next one. Nothing can stop code that
runs in a thread of this process: at its limit, or cancelled, it takes the worker along, and the driver starts another.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn, cast

from joulegrid.actors.attempt import artifacts_in
from joulegrid.actors.child import perform
from joulegrid.actors.ending import Ending, clean, not_started
from joulegrid.actors.logs import Tail
from joulegrid.actors.probe import Account, TaskProbe, thread_family_seconds
from joulegrid.cluster.power.sampler.marks import mark_sender
from joulegrid.jsontypes import Json
from joulegrid.kernels.judge import process_tree

if TYPE_CHECKING:
    from joulegrid.actors.child import Launch


class Inline:
    """Runs the tasks of one lane in this process, one after the other."""

    def __init__(self, preload: tuple[str, ...]) -> None:
        self.preload = preload
        self.scratch = Path(tempfile.mkdtemp(prefix="joulegrid-"))
        self._told: dict[str, Json] | None = None
        self._log = Tail()
        self._stream = io.TextIOWrapper(cast("IO[bytes]", self._log), "utf-8", "backslashreplace", write_through=True)
        self._pinned = threading.local()
        self._turn = threading.Lock()
        """Held by a task that begins or ends, and by whoever ends the worker: a result that is there is kept."""
        self._over_s: float | None = None
        """While a task's code runs: when it reaches its limit."""
        self.cancelled = False
        self._make_scratch()

    def start(self) -> None:
        """Import what every task needs; a module that is missing fails the tasks, as class `import`."""
        for name in ("joulegrid.cases.registry", *self.preload):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)

    def renew(self) -> None:
        """Do nothing: there is no process to renew."""

    def stop(self) -> None:
        """Do nothing: there is no process to end."""

    def close(self) -> None:
        """Remove the scratch folder."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def cancel(self) -> None:
        """End this worker with the task whose code runs, from another thread; one that has not begun does not begin."""
        with self._turn:
            self.cancelled = True
            if self._over_s is not None:
                end_this_process()

    def hold_to_limit(self) -> None:
        """End this worker where the code of its task has run beyond its limit, from another thread."""
        with self._turn:
            if self._over_s is not None and time.monotonic() >= self._over_s:
                end_this_process()

    def arm(self) -> None:
        """Forget what was cancelled before: from now on `cancel` means the next task."""
        self.cancelled = False

    def run(self, launch: Launch, on_start: Callable[[int], object] | None = None) -> Ending:
        """Run one task to its end; there is no process to follow."""
        self._told = None
        self._settle(launch)
        account = Account(thread_family_seconds, mark=mark_sender(launch.marks))
        probe = TaskProbe(launch.lane, self.scratch, self._tell, account)
        ordered_ns = time.monotonic_ns()
        if not self._begin(launch.timeout_s):
            return replace(not_started(), killed="cancelled")
        with (
            _put_back(launch.inputs),
            contextlib.redirect_stdout(self._stream),
            contextlib.redirect_stderr(self._stream),
        ):
            try:
                report = perform(launch.experiment, launch.inputs, launch.fingerprints, probe)
            finally:
                with self._turn:
                    self._over_s = None
        ended_ns = time.monotonic_ns()
        report["entered_ns"] = ordered_ns
        return Ending(
            report=clean(report),
            killed=None,
            exit_code=None,
            signal=None,
            max_rss_bytes=None,
            log=self._log.take(),
            ordered_ns=ordered_ns,
            ended_ns=ended_ns,
        )

    def _begin(self, timeout_s: float | None) -> bool:
        with self._turn:
            self._over_s = time.monotonic() + timeout_s if timeout_s else math.inf
            if self.cancelled:
                self._over_s = None
        return not self.cancelled

    def last_progress(self) -> dict[str, Json] | None:
        """Return the running task's newest progress."""
        told, self._told = self._told, None
        return told

    def artifacts(self) -> list[tuple[str, Path]]:
        """Return files that the task left to be kept, by their name beside the result."""
        return artifacts_in(self.scratch) if _names(self.scratch / "artifacts") else []

    def forget_task(self) -> None:
        """Empty the scratch folder, if the task used it."""
        if _names(self.scratch) != ["artifacts"] or _names(self.scratch / "artifacts"):
            shutil.rmtree(self.scratch, ignore_errors=True)
            self._make_scratch()

    def _make_scratch(self) -> None:
        (self.scratch / "artifacts").mkdir(parents=True, exist_ok=True)

    def _tell(self, progress: dict[str, Json]) -> None:
        self._told = progress

    def _settle(self, launch: Launch) -> None:
        """Give this thread the task's cores and GPUs, and reseed."""
        lane = launch.lane
        if getattr(self._pinned, "lane", None) != lane:  # Ray may call from another of its threads each time
            if lane.cpus:
                os.sched_setaffinity(0, lane.cpus)
            self._pinned.lane = lane
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(lane.gpu_uuids)
        os.environ["JOULEGRID_ARTIFACTS"] = str(self.scratch / "artifacts")
        os.environ["OMP_NUM_THREADS"] = str(max(1, len(lane.cpus)))
        random.seed(launch.seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(launch.seed % 2**32)


@contextmanager
def _put_back(inputs: dict[str, str]) -> Iterator[None]:
    """Undo what running a script changes in an interpreter: its module, its folder on the path, its arguments."""
    path, arguments, main, folder = sys.path[:], sys.argv, sys.modules["__main__"], os.getcwd()  # noqa: PTH109
    known = len(sys.modules)
    try:
        yield
    finally:
        sys.path[:], sys.argv, sys.modules["__main__"] = path, arguments, main
        for name in list(islice(reversed(sys.modules), max(0, len(sys.modules) - known))):
            if getattr(sys.modules[name], "__file__", None) in inputs.values():
                del sys.modules[name]
        with contextlib.suppress(OSError):
            os.chdir(folder)


def end_this_process() -> NoReturn:
    """Kill everything below this process, and it."""
    process_tree.kill_below(os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def _names(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(folder)  # noqa: PTH208 - 10 µs less than a Path's
    return []
