"""Drivers forked from one process that has everything imported: a start costs tenths of a second instead of seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import Any, Literal

from tests.checkout import ROOT

Main = Literal["plain", "faulty"]
"""Which function of `driver_main` is called."""
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.driver_main"])


def prepare(environment: Mapping[str, str]) -> None:
    """Start the process that is forked, with the variables that Ray reads when it is imported."""
    before = dict(os.environ)
    os.environ.update({**environment, "PYTHONPATH": str(ROOT)})
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


class Forked:
    """A running driver, as `subprocess.Popen` would show it."""

    def __init__(self, main: Main, arguments: tuple[Any, ...], env: Mapping[str, str], said: Path) -> None:
        self._said = said
        self._process = _CONTEXT.Process(target=_become, args=(main, arguments, dict(env), str(said)), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; negative for a signal."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Whether it has ended, and how."""
        return self._process.exitcode

    def kill(self) -> None:
        """SIGKILL it."""
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; return what it said on stdout and stderr."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked driver", timeout or 0.0)
        out, err = (self._said.with_suffix(suffix).read_text() for suffix in (".out", ".err"))
        return out, err


def _become(main: Main, arguments: tuple[Any, ...], env: dict[str, str], said: str) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(ROOT)
    for descriptor, suffix in ((1, ".out"), (2, ".err")):
        file = os.open(said + suffix, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, descriptor)
    if main == "plain":  # as where matplotlib is not installed: figures would be most of a report's time
        sys.modules["matplotlib"] = None  # type: ignore[assignment]
    from tests.faults import driver_main  # which has Ray imported; the tests themselves have not

    sys.exit(getattr(driver_main, main)(*arguments))
