"""A recorder in this process over a simulated NVML in the sampling process' environment, and what a test asks of it."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.power.sampler.recorder import Recorder
from joulegrid.cluster.power.sensors.sources import PowerConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@contextmanager
def environment(env: Mapping[str, str]) -> Iterator[None]:
    """Let processes that are started inside find this environment; NVML is loaded in the sampling process alone."""
    was = dict(os.environ)
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(was)


@contextmanager
def recorder_over(env: Mapping[str, str], **config: Any) -> Iterator[Recorder]:
    """A started recorder whose sampling process, and its successors, load the simulated library."""
    with environment(env):
        recorder = Recorder(PowerConfig(**{"source": "nvml", **config}))
        try:
            recorder.start()
            yield recorder
        finally:
            recorder.stop()


def eventually(true: Callable[[], object], limit_s: float = 10.0) -> bool:
    """Wait until something is true."""
    ends_s = time.monotonic() + limit_s
    while not true() and time.monotonic() < ends_s:
        time.sleep(0.01)
    return bool(true())


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
