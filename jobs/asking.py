"""A search under way: it asks, admits, keeps the log of asks, tells. Pure; the ask log is the plan of the run.

Every answered ask is noted before its experiment can be run. When a run goes on, the asks come from the log and not
from the searcher, which is told of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from joulegrid.actors.result import FailureClass
from joulegrid.errors import PreFlightError, UsageError
from joulegrid.jobs.asked import Admission, AskedPlan
from joulegrid.jobs.search import (
    WAIT,
    CycleResult,
    DeafSearcher,
    Searcher,
    StatefulSearcher,
    Status,
    Told,
    Wait,
    plain,
)
from joulegrid.jsontypes import Json

ASKS_AT_ONCE = 20
"""After so many fruitless asks in a row `next_index` lets the running experiments end first."""
PATIENCE = 1_000
"""A search ends after so many asks in a row that were refused or repeated."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One answered ask, as the ledger keeps it."""

    number: int
    values: dict[str, Json]
    index: int | None = None
    """`None` where it was refused."""
    key: str | None = None
    state: Json = None

    def event(self) -> dict[str, Json]:
        """Return it as an event of the ledger."""
        return {"event": "asked", **asdict(self)}

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Asked:
        """Read an event of the ledger; what else stands in it is left."""
        return cls(**{name: event[name] for name in cls.__dataclass_fields__ if name in event})


@dataclass(frozen=True, slots=True)
class Ending:
    """What an experiment came to when its last cycle had ended."""

    cycles: Sequence[CycleResult] = ()
    """The done ones."""
    failure_class: FailureClass | None = None
    """Of the last one that failed."""
    message: str | None = None

    @property
    def status(self) -> Status:
        """`done` where at least one cycle is."""
        return "done" if self.cycles else "failed"


def _checked(values: Any) -> dict[str, Json]:
    """Return what a searcher asked for as JSON holds it."""
    if not isinstance(values, Mapping):
        raise UsageError(
            f"the searcher asked for {values!r}; an experiment is a mapping of dotted paths to values, or WAIT or None"
        )
    try:
        return plain(values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the searcher asked for what JSON cannot hold: {error}") from error


def _nowhere(asked: Asked) -> None:
    """Keep no log."""


@dataclass
class Search:
    """Asks a searcher and fills the plan. `note` must keep an ask durably before it returns."""

    plan: AskedPlan
    searcher: Searcher
    note: Callable[[Asked], None] = _nowhere
    n_asked: int = 0
    """Answered asks, those of earlier starts of the run included."""
    ended: str | None = None
    """Why nothing more will be asked."""
    _fruitless: int = 0
    _waiting: dict[int, list[Asked]] = field(default_factory=dict)
    """Experiment → the asks that want its ending; the first of them made it run."""
    _endings: dict[int, Ending] = field(default_factory=dict)

    @property
    def is_deaf(self) -> bool:
        """Whether the searcher does not care for results, so that none need be read for it."""
        return isinstance(self.searcher, DeafSearcher) and self.searcher.deaf

    @property
    def n_running(self) -> int:
        """Experiments that were asked for and have not ended."""
        return len(self._waiting)

    def next_index(self) -> int | Wait | None:
        """Return the next experiment to run in all its cycles, `WAIT` until one ends, or `None` at the end.

        Raises:
            UsageError: when the searcher's answer is no experiment, or it waits for nothing.
        """
        for _ in range(ASKS_AT_ONCE):
            if self._is_over():
                return None
            values = self.searcher.ask()
            if values is None:
                self.ended = "the searcher has nothing more"
                return None
            if isinstance(values, Wait):
                return self._wait()
            index = self._take(values)
            if index is not None:
                return index
        return self._wait() if self._waiting else self.next_index()

    def told(self, index: int, ending: Ending) -> None:
        """Tell the searcher that an experiment has ended, once for each ask that wanted it."""
        for number, asked in enumerate(self._waiting.pop(index, ())):
            self.searcher.tell(self._told(asked, ending, repeated=number > 0))
        if not self.is_deaf and self.plan.study.deduplicate:
            self._endings[index] = ending

    def restore(self, log: Iterable[Mapping[str, Any]], endings: Mapping[int, Ending]) -> list[int]:
        """Replay the log of asks and tell the searcher of each; return the experiments that have not ended.

        Args:
            log: the events `asked` of the ledger, in their order.
            endings: experiment → what it came to, for those of which every cycle has ended.

        Raises:
            PreFlightError: when the plan admits the asks differently now: what they read has changed since.
        """
        for event in log:
            self._replay(Asked.of(event), endings)
        return sorted(self._waiting)

    def _take(self, values: Mapping[str, Json]) -> int | None:
        """Admit and note what was asked for; return it where it is to be run."""
        values = _checked(values)
        admission = self.plan.admit(values)
        asked = self._asked(values, admission)
        self.note(asked)
        self.n_asked += 1
        self._fruitless = 0 if admission.is_new else self._fruitless + 1
        self._settle(asked, admission, self._endings)
        return admission.index if admission.is_new else None

    def _asked(self, values: Mapping[str, Json], admission: Admission) -> Asked:
        state = self.searcher.state() if isinstance(self.searcher, StatefulSearcher) else None
        key = self.plan.key(admission.index) if admission.index is not None else None
        return Asked(self.n_asked, dict(values), admission.index, key, state)

    def _settle(self, asked: Asked, admission: Admission, endings: Mapping[int, Ending]) -> None:
        """Tell at once what is known at once; keep the rest until its experiment ends."""
        index = admission.index
        if index is None:
            refused = Told(asked.number, asked.values, "refused", message=admission.reason, state=asked.state)
            self.searcher.tell(refused)
        elif index in endings:
            self.searcher.tell(self._told(asked, endings[index], repeated=not admission.is_new))
        elif admission.is_new or index in self._waiting:
            self._waiting.setdefault(index, []).append(asked)

    def _told(self, asked: Asked, ending: Ending, *, repeated: bool) -> Told:
        return Told(
            number=asked.number,
            values=asked.values,
            status=ending.status,
            index=asked.index,
            key=asked.key,
            cycles=tuple(ending.cycles),
            failure_class=ending.failure_class,
            message=ending.message,
            repeated=repeated,
            state=asked.state,
        )

    def _replay(self, asked: Asked, endings: Mapping[int, Ending]) -> None:
        admission = self.plan.admit(asked.values)
        key = self.plan.key(admission.index) if admission.index is not None else None
        if (asked.number, asked.index, asked.key) != (self.n_asked, admission.index, key):
            raise PreFlightError(
                f"ask {asked.number} of the run's log was experiment {asked.index} ({asked.key}); now it is "
                f"{admission.index} ({key or admission.reason}): what it reads has changed since. Restore that, or "
                "begin anew with --fresh"
            )
        self.n_asked += 1
        self._fruitless = 0 if admission.is_new else self._fruitless + 1
        self._settle(asked, admission, endings)
        if admission.index is not None and admission.index in endings:
            self._endings[admission.index] = endings[admission.index]
        elif admission.index is not None:
            pending = Told(asked.number, asked.values, "pending", asked.index, asked.key, state=asked.state)
            self.searcher.tell(pending)

    def _is_over(self) -> bool:
        if self.ended is None and not self.plan.is_open:
            self.ended = f"the limit of {self.plan.limit:,} experiments is reached"
        if self.ended is None and self._fruitless >= PATIENCE:
            self.ended = f"{PATIENCE:,} asks in a row were refused or had been asked for before"
        return self.ended is not None

    def _wait(self) -> Wait:
        if not self._waiting:
            raise UsageError("the searcher waits, but everything it asked for has been told: it would wait forever")
        return WAIT
