"""A search under way: it asks, admits, keeps the log of asks, tells. Pure; the ask log is the plan of the run.

Every answered ask is noted before its experiment can be run. When a run goes on, the asks come from the log and not
from the searcher, which is told of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from joulegrid.actors.result import FailureClass
from joulegrid.errors import PreFlightError, UsageError
from joulegrid.jobs.plan.plan import REASONS_SHOWN
from joulegrid.jobs.search.asked import Admission, AskedPlan
from joulegrid.jobs.search.search import (
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
    refused: str | None = None
    """Why it was refused."""
    state: Json = None

    def event(self) -> dict[str, Json]:
        """Return it as an event of the ledger; what is not there is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

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
    is_whole: bool = True
    """Whether no cycle is left to be run."""

    @property
    def status(self) -> Status:
        """`done` where at least one cycle is."""
        return "done" if self.cycles else "failed"


def asks_of(log: Iterable[Mapping[str, Any]]) -> Iterator[Asked]:
    """Yield the asks among the events `asked` of a ledger; the others say that a search ended."""
    return (Asked.of(event) for event in log if "number" in event)


def fill(plan: AskedPlan, log: Iterable[Mapping[str, Any]]) -> None:
    """Admit to an empty plan what earlier starts of a run asked for.

    Raises:
        PreFlightError: when the plan admits it differently now: what it reads has changed since.
    """
    for number, asked in enumerate(asks_of(log)):
        if asked.number != number:
            raise PreFlightError(
                f"the run's log lacks what was asked for as number {number}: a part of it is damaged. Restore that, or "
                "begin anew with --fresh"
            )
        admission = plan.admit(asked.values)
        key = plan.key(admission.index) if admission.index is not None else None
        if (asked.index, asked.key) != (admission.index, key):
            raise PreFlightError(
                f"ask {asked.number} of the run's log was experiment {asked.index} ({asked.key}); now it is "
                f"{admission.index} ({key or admission.reason}): what it reads has changed since. Restore that, or "
                "begin anew with --fresh"
            )


def ended_event(why: str, limit: int | None) -> dict[str, Json]:
    """Return the event that says that a search ended, and under which limit."""
    return {"ended": why, "limit": limit}


def is_over(plan: AskedPlan, log: Sequence[Mapping[str, Any]]) -> bool:
    """Whether nothing more will be asked: the search ended, and not because of a limit that is higher now."""
    if not has_ended(log):
        return False
    was: int | None = log[-1].get("limit")
    n_asked = n_experiments(log)
    return not (was is not None and n_asked >= was and (plan.limit is None or plan.limit > n_asked))


def has_ended(log: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last thing that a log tells is that its search ended."""
    return bool(log) and "ended" in log[-1]


def n_experiments(log: Iterable[Mapping[str, Any]]) -> int:
    """Return the number of experiments that a log of asks tells of."""
    return max((event["index"] for event in log if event.get("index") is not None), default=-1) + 1


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
        return self._wait() if self._waiting and not self.is_deaf else self.next_index()

    def told(self, index: int, ending: Ending) -> None:
        """Tell the searcher that an experiment has ended, once for each ask that wanted it."""
        waiting = self._waiting.pop(index, [])
        if self.is_deaf:
            return
        for number, asked in enumerate(waiting):
            self.searcher.tell(self._told(asked, ending, repeated=number > 0))
        self._endings[index] = ending

    def restore(self, log: Iterable[Mapping[str, Any]], endings: Mapping[int, Ending]) -> None:
        """Tell the searcher of every ask of earlier starts, in their order; the plan was filled with them before.

        Args:
            log: the events of the ledger.
            endings: experiment → what its cycles came to, as far as they have ended.
        """
        whole = {index: ending for index, ending in endings.items() if ending.is_whole}
        for asked in asks_of(log):
            is_new = asked.index is not None and asked.index not in self._endings and asked.index not in self._waiting
            self.n_asked += 1
            self._fruitless = 0 if is_new else self._fruitless + 1
            self._settle(asked, Admission(asked.index, is_new, asked.refused), whole)
            if asked.index is None:
                continue
            if asked.index in whole:
                self._endings[asked.index] = whole[asked.index]
            else:
                so_far = self._told(asked, endings.get(asked.index, Ending()), repeated=not is_new)
                self.searcher.tell(replace(so_far, status="pending"))

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
        return Asked(self.n_asked, dict(values), admission.index, key, admission.reason, state)

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


def nothing_to_run(search: Search) -> str:
    """Say why a search has no experiment."""
    plan = search.plan
    reasons = "".join(f"\n  {one.count} × {one.reason} (e.g. {one.example})" for one in plan.skipped[:REASONS_SHOWN])
    return f"{plan.source.name} proposed no experiment that can be run: {search.ended}{reasons}"
