"""What a searcher is: it proposes the next experiment, and it is told what became of each. Pure: no Ray, no store.

A grid is the searcher that never listens; it keeps a way of its own (`joulegrid.jobs.plan.plan`), because its points
can be counted and computed without asking.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import isfinite
from typing import Any, Literal, Protocol, runtime_checkable

from joulegrid.actors.result import FailureClass
from joulegrid.jobs.plan.identity import digest
from joulegrid.jobs.plan.merge import leaves, lookup, nested
from joulegrid.jobs.study.text import refuse_unwritable
from joulegrid.jsontypes import Json

PARTS = ("duration_s", "energy_j", "energy_per")
"""Names that a metric of the workload cannot hide."""


class Wait(Enum):
    """The answer of a searcher that must first be told something."""

    WAIT = "wait"


WAIT = Wait.WAIT
Status = Literal["done", "failed", "refused", "pending"]


@dataclass(frozen=True, slots=True)
class CycleResult:
    """The numbers of one done task, as its `result.json` holds them."""

    cycle: int
    metrics: Mapping[str, Json] = field(default_factory=dict)
    duration_s: float | None = None
    """Length of the headline window; `None` where there is none."""
    energy_j: float | None = None
    """Energy of the headline window; `None` where it is unknown."""
    energy_per: Mapping[str, float | None] = field(default_factory=dict)
    """Unit of work → joules for one of them."""
    energy_kind: str | None = None
    """How the joules were obtained and of what, e.g. `measured counter gpu_board`; `None` where they are unknown."""

    def value(self, path: str) -> float | None:
        """Return the finite number at `duration_s`, `energy_j`, `energy_per.UNIT` or a dotted path in the metrics."""
        head, _, rest = path.partition(".")
        if head == "energy_per":
            found: Json = self.energy_per.get(rest)
        elif head in PARTS:
            found = getattr(self, head)
        else:
            found = self.metrics[path] if path in self.metrics else lookup(self.metrics, path)
        return _number(found)

    def names(self) -> Iterator[str]:
        """Yield every path at which a finite number stands."""
        yield from (name for name in ("duration_s", "energy_j") if getattr(self, name) is not None)
        yield from (f"energy_per.{unit}" for unit, value in self.energy_per.items() if value is not None)
        yield from (path for path, value in leaves(self.metrics) if _number(value) is not None)


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one ask."""

    number: int
    """Which ask of the search, counted from 0; asks of earlier starts of the run included."""
    values: Mapping[str, Json]
    """What was asked for, as it was asked for."""
    status: Status
    """`done`: at least one cycle has numbers; `failed`: none has; `refused`: no valid experiment, nothing was run;
    `pending`: an earlier start asked for it, and it is told again when its last cycle has ended (at resume only)."""
    index: int | None = None
    """Number of the experiment; `None` where it was refused."""
    key: str | None = None
    cycles: Sequence[CycleResult] = ()
    """The done cycles."""
    failure_class: FailureClass | None = None
    """Class of the last failed cycle."""
    message: str | None = None
    """Why it was refused or failed."""
    repeated: bool = False
    """The experiment had been asked for before: it was not run again."""
    state: Json = None
    """What `StatefulSearcher.state` said after the ask."""

    def value(self, path: str) -> float | None:
        """Return the mean over the done cycles of what stands at a path; `None` where no cycle knows it.

        Paths: `duration_s`, `energy_j`, `energy_per.UNIT`, or a dotted path in the metrics. Joules of unlike kinds
        (measured and modelled) have no mean: `None`.
        """
        if is_energy(path) and len({one.energy_kind for one in self.cycles if one.value(path) is not None}) > 1:
            return None
        known = [value for one in self.cycles if (value := one.value(path)) is not None]
        return sum(known) / len(known) if known else None

    @property
    def energy_kind(self) -> str | None:
        """How the joules of all its cycles were obtained; `None` where that is unknown or differs."""
        kinds = {one.energy_kind for one in self.cycles}
        return next(iter(kinds)) if len(kinds) == 1 else None

    def names(self) -> list[str]:
        """Return every path that `value` knows of some cycle."""
        return sorted({name for one in self.cycles for name in one.names()})


class Searcher(Protocol):
    """Proposes experiments one by one.

    `ask` is called when a lane is free, so with several lanes again before the last experiment is told. `tell` is
    called once for each ask that was answered with values, in the order in which the results come. When a run goes on
    after an interruption, `tell` is first called for every ask of the earlier starts, in their order, with `pending`
    for what is still to be run: a searcher must take tells of experiments that it did not propose in this process.
    """

    def ask(self) -> Mapping[str, Json] | Wait | None:
        """Return the next experiment, `WAIT`, or `None` when nothing more will ever come.

        Values stand by dotted path over the study's shared fields, as in `experiments:`; nested mappings do as well.
        """
        ...

    def tell(self, told: Told) -> None:
        """Take what became of an ask."""
        ...


@runtime_checkable
class StatefulSearcher(Protocol):
    """A searcher that wants something kept with each ask, beside the values."""

    def state(self) -> Json:
        """Return what is kept with the ask that was just answered; it comes back as `Told.state`."""
        ...


@runtime_checkable
class DeafSearcher(Protocol):
    """A searcher that may not want to know: where `deaf` is true, no result is read for it."""

    deaf: bool


@dataclass(frozen=True, slots=True)
class SearcherSource:
    """Where a study's searcher comes from, and what it is known by."""

    name: str
    """For people: `optuna tpe`, `study.py: config_gen`."""
    fingerprint: str
    """Part of the study's design: another one makes another study."""
    make: Callable[[], Searcher]
    """Begin the search anew; nothing has been asked or told yet."""

    @classmethod
    def of(cls, searcher: Searcher) -> SearcherSource:
        """Return the source of one that is at hand; it is known by the source text of its class."""
        kind = type(searcher)
        try:
            text = inspect.getsource(kind)
        except (OSError, TypeError):  # typed at a prompt
            text = ""
        return cls(kind.__qualname__, digest([kind.__module__, kind.__qualname__, text]), lambda: searcher)


def plain(values: Mapping[str, Any]) -> dict[str, Json]:
    """Return values as dotted path → what JSON holds, so that they are the same when they are read back.

    Raises:
        UsageError: for a path that is given twice, or a text that no file can hold. TypeError or ValueError: for what
            JSON cannot hold.
    """
    written: dict[str, Json] = json.loads(json.dumps(dict(leaves(nested(values))), default=_scalar))
    refuse_unwritable(written)
    return written


def _scalar(value: object) -> Json:
    """Write a number of numpy or torch as a number, and anything else (a path, a date) as its text."""
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)


def is_energy(path: str) -> bool:
    """Whether joules stand at a path."""
    return path == "energy_j" or path.startswith("energy_per.")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)
