"""What a run tells a monitoring system while it lives: the face for the driver, and the endpoint's life.

Not the record of the run: that is the store, which `joulegrid status` and `report` read. Counters begin at zero with
each driver, and everything ends with it. No label names a run, a task or an experiment, so that a study of a million
tasks makes as many time series as one of ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from joulegrid.errors import PreFlightError

if TYPE_CHECKING:
    from joulegrid.actors.outcome import Outcome
    from joulegrid.actors.placement import Place
    from joulegrid.actors.result import Task

OFF = 0
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the metrics are served: `http://{host}:{port}/metrics`. Port 0 serves nothing."""

    port: int = OFF
    host: str = LOOPBACK
    """Another address than loopback lets other machines read; there is no password."""

    @property
    def url(self) -> str:
        """Where to point Prometheus."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/metrics"


class WatchedLane(Protocol):
    """What is counted of one lane; the pool's lane state has it."""

    place: Place

    @property
    def task(self) -> Task | None:
        """The task that runs."""
        ...

    started_s: float
    rest: Any


class Metrics(Protocol):
    """What the driver tells; every call is cheap enough for each tick (five a second)."""

    def counts(self, counts: Mapping[str, int]) -> None:
        """Show the tasks by status; `n_tasks` among them is left out."""
        ...

    def time_left(self, seconds: float | None) -> None:
        """Show the estimate of the time that is left; `None` where there is none yet."""
        ...

    def lanes(self, lanes: Sequence[WatchedLane]) -> None:
        """Show what the lanes do now."""
        ...

    def ended(self, outcome: Outcome, *, final: bool = True) -> None:
        """Count an attempt that has ended; one that is not `final` is tried again."""
        ...

    def breakers(self, unclosed: Mapping[str, int]) -> None:
        """Show how many circuit breakers of each kind (`lane`, `family`, `study`) are not closed."""
        ...


class NoMetrics:
    """Tells nobody anything."""

    def counts(self, counts: Mapping[str, int]) -> None:
        """Show nothing."""

    def time_left(self, seconds: float | None) -> None:
        """Show nothing."""

    def lanes(self, lanes: Sequence[WatchedLane]) -> None:
        """Show nothing."""

    def ended(self, outcome: Outcome, *, final: bool = True) -> None:
        """Count nothing."""

    def breakers(self, unclosed: Mapping[str, int]) -> None:
        """Show nothing."""


@contextmanager
def metrics_endpoint(endpoint: Endpoint) -> Iterator[Metrics]:
    """Serve metrics while the context is open; on port 0 nothing is served, loaded or counted.

    Raises:
        PreFlightError: when the address cannot be served from: a port that is taken or needs rights, an unknown host.
    """
    if endpoint.port == OFF:
        yield NoMetrics()
        return
    from prometheus_client import start_http_server

    from joulegrid.jobs.status.prometheus import PrometheusMetrics

    metrics = PrometheusMetrics()
    try:
        server, thread = start_http_server(endpoint.port, endpoint.host, metrics.registry)
    except (OSError, OverflowError) as error:
        raise PreFlightError(
            f"metrics: cannot serve {endpoint.url}: {getattr(error, 'strerror', None) or error}; choose a free port "
            "with --metrics-port (0 goes without), and an address of this machine with --metrics-host"
        ) from error
    try:
        yield metrics
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
