"""What a person sees while a study runs: a live line per worker on a terminal, plain lines elsewhere.

Everything goes to stderr; stdout belongs to results.
"""

from __future__ import annotations

import contextlib
import select
import sys
import termios
import textwrap
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from joulegrid.actors.outcome import Outcome
from joulegrid.actors.result import Task
from joulegrid.jobs.loop.run import Run
from joulegrid.jobs.plan.estimate import duration_words
from joulegrid.jsontypes import Json


class ShownLane(Protocol):
    """What is shown of one lane; the pool's lane state has it."""

    place: Any

    @property
    def task(self) -> Task | None:
        """The task that runs."""
        ...

    started_s: float
    rest: Any
    progress: dict[str, Json] | None


class Display(Protocol):
    """A way of showing a run."""

    def say(self, text: str) -> None:
        """Show one line."""
        ...

    def running(self, run: Run) -> contextlib.AbstractContextManager[None]:
        """Show the run while the context is open."""
        ...

    def tick(self, lanes: Sequence[ShownLane]) -> bool:
        """Refresh; return whether the person asked to skip the present gaps."""
        ...

    def ended(self, outcome: Outcome, label: str) -> None:
        """Show that a task has ended."""
        ...


@dataclass
class Totals:
    """The run's numbers so far. Joules of different provenance are kept apart."""

    n_tasks: int | None
    """At most; `None` where a search has no limit."""
    done: int = 0
    failed: int = 0
    joules: dict[str, float] = field(default_factory=dict)
    time_left_s: Callable[[], float | None] = lambda: None
    """The estimate of the run; `None` where it has none."""

    @classmethod
    def of(cls, run: Run) -> Totals:
        """Take over what earlier drivers of the run have done."""
        counts = run.counts()
        totals = cls(run.most_tasks, counts["done"], counts["failed"], time_left_s=run.time_left_s)
        totals.joules = dict(run.states.joules)
        return totals

    def add(self, outcome: Outcome) -> None:
        """Count one final outcome."""
        self.done += outcome.status == "done"
        self.failed += outcome.status == "failed"
        self.add_joules(outcome.energy_j, outcome.provenance)

    def add_joules(self, energy_j: float | None, provenance: str | None) -> None:
        """Add joules to those of their own provenance."""
        if energy_j is not None and provenance is not None:
            self.joules[provenance] = self.joules.get(provenance, 0.0) + energy_j

    def words(self) -> str:
        """Return `3/12 done, 1 failed, about 2 min left, 34.1 J (modelled)`."""
        ended = self.done + self.failed
        of = "" if self.n_tasks is None else f"/{self.n_tasks}"
        parts = [f"{ended}{of} ended"] + ([f"{self.failed} failed"] if self.failed else [])
        left_s = self.time_left_s()
        if left_s:
            parts.append(f"about {duration_words(left_s)} left")
        parts += [f"{joules:.4g} J ({provenance})" for provenance, joules in sorted(self.joules.items())]
        return ", ".join(parts)


class Quiet:
    """Shows nothing but what must be said."""

    def say(self, text: str) -> None:
        """Show nothing."""

    @contextmanager
    def running(self, run: Run) -> Iterator[None]:
        """Show nothing."""
        yield

    def tick(self, lanes: Sequence[ShownLane]) -> bool:
        """Never skip."""
        return False

    def ended(self, outcome: Outcome, label: str) -> None:
        """Show nothing."""


class Plain(Quiet):
    """One line for each event, for logs and pipes."""

    def __init__(self) -> None:
        self._totals: Totals | None = None
        self._resting: set[str] = set()
        self._waits: set[str] = set()
        """Why lanes rested without a known end: said once, because they come between any two tasks."""

    def say(self, text: str) -> None:
        """Print one line."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress is what this class is for

    @contextmanager
    def running(self, run: Run) -> Iterator[None]:
        """Count from what the run has already."""
        self._totals = Totals.of(run)
        yield

    def tick(self, lanes: Sequence[ShownLane]) -> bool:
        """Say when a lane begins to rest."""
        for lane in lanes:
            name = lane.place.lane
            if lane.rest is None:
                self._resting.discard(name)
            elif name not in self._resting:
                self._resting.add(name)
                self._say_rest(name, lane.rest)
        return False

    def _say_rest(self, name: str, rest: Any) -> None:
        if rest.until_s > time.monotonic():
            self.say(f"[{name}] {_rest_words(rest)}")
        elif rest.why not in self._waits:
            self._waits.add(rest.why)
            self.say(f"[{name}] {_rest_words(rest)} (said once)")

    def ended(self, outcome: Outcome, label: str) -> None:
        """Say how a task ended and where the run stands."""
        assert self._totals is not None
        self._totals.add(outcome)
        self.say(f"[{outcome.lane}] {ending_words(outcome, label)} | {self._totals.words()}")


class Terminal(Plain):
    """A live line per worker, a total below; failures stay above."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(stderr=True)
        self._live: Live | None = None

    @contextmanager
    def running(self, run: Run) -> Iterator[None]:
        """Keep the last lines of the terminal alive."""
        self._totals = Totals.of(run)
        with _keys(), Live(console=self._console, refresh_per_second=5, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def say(self, text: str) -> None:
        """Print one line above the live ones."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def tick(self, lanes: Sequence[ShownLane]) -> bool:
        """Redraw; a key press while a lane rests skips the gap."""
        if self._live is not None and self._totals is not None:
            lines = [Text(lane_words(lane), no_wrap=True, overflow="ellipsis") for lane in lanes]
            self._live.update(Group(*lines, Text(self._totals.words(), style="bold")))
        return _pressed() and any(lane.rest is not None for lane in lanes)

    def ended(self, outcome: Outcome, label: str) -> None:
        """Keep a line for the ended task."""
        assert self._totals is not None
        self._totals.add(outcome)
        self.say(f"[{outcome.lane}] {ending_words(outcome, label)}")


def lane_words(lane: ShownLane) -> str:
    """Return what one lane is doing: its task's axes, how far it is, or how long it still rests."""
    name = lane.place.lane
    if lane.task is not None:
        done = lane.progress or {}
        count = f" {done['done']:.0f}/{done['total']:.0f}" if done.get("total") else ""
        share = f"{count} {done.get('note', '')}".rstrip()
        return (
            f"{name}  {lane.task.label}  cycle {lane.task.cycle + 1}  {time.monotonic() - lane.started_s:.0f} s{share}"
        )
    if lane.rest is not None:
        return f"{name}  {_rest_words(lane.rest, ' left (any key skips it)')}"
    return f"{name}  idle"


def _rest_words(rest: Any, more: str = "") -> str:
    """Say why a lane rests, and how long where that is known."""
    left_s = rest.until_s - time.monotonic()
    return f"{rest.why}: {left_s:.0f} s{more}" if left_s > 0 else str(rest.why)


def ending_words(outcome: Outcome, label: str) -> str:
    """Return how a task ended, in one line."""
    head = f"{label}, cycle {outcome.cycle + 1}: {outcome.status} in {outcome.duration_s:.1f} s"
    if outcome.status == "failed":
        first_line = next(iter((outcome.message or "").strip().splitlines()), "")
        return f"{head}, {outcome.failure_class}: {textwrap.shorten(first_line, 200, placeholder=' …')}"
    if outcome.energy_j is not None:
        return f"{head}, {outcome.energy_j:.4g} J ({outcome.provenance})"
    return f"{head}, energy unknown" if outcome.spent else head  # without a window nothing was to be known


@contextmanager
def _keys() -> Iterator[None]:
    """Let single keys arrive without Enter; Ctrl-C keeps its meaning."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _pressed() -> bool:
    if not sys.stdin.isatty() or not select.select([sys.stdin], [], [], 0)[0]:
        return False
    return bool(sys.stdin.read(1))
