"""Tasks inside the worker itself: no process of their own, no limit, no protection. For many tiny trusted tasks.

It takes the place of a `Supervisor`. Working folder, `sys.path`, `sys.argv` and `__main__` are put back after each
task; everything else that a task changes in the interpreter stays changed for the next one.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from joulegrid.actors.attempt import artifacts_in
from joulegrid.actors.child import perform
from joulegrid.actors.ending import Ending, clean
from joulegrid.actors.logs import Tail
from joulegrid.actors.probe import Account, TaskProbe, worker_cpu_seconds
from joulegrid.cluster.power.marks import mark_sender
from joulegrid.jsontypes import Json

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
        """Do nothing: a task inside the worker ends by itself, or with the worker."""

    def arm(self) -> None:
        """Do nothing: nothing can be cancelled."""

    cancelled = False

    def run(self, launch: Launch, on_start: Callable[[int], object] | None = None) -> Ending:
        """Run one task to its end; there is no process to follow."""
        self._told = None
        self._settle(launch)
        probe = TaskProbe(
            launch.lane, self.scratch, self._tell, Account(worker_cpu_seconds, mark=mark_sender(launch.marks))
        )
        ordered_ns = time.monotonic_ns()
        with (
            _put_back(launch.inputs),
            contextlib.redirect_stdout(self._stream),
            contextlib.redirect_stderr(self._stream),
        ):
            report = perform(launch.experiment, launch.inputs, launch.fingerprints, probe)
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


def _names(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(folder)  # noqa: PTH208 - 10 µs less than a Path's
    return []
