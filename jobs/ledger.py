"""What has happened to every task: append-only segments, replayed at the next start.

A segment is one object, `log/{epoch}-{seq}.jsonl`, created once. Events are committed in groups: at the latest after
one second or 1,000 events. Each driver writes under an epoch of its own; the first event of an epoch lists the last
accepted segment of every older one, so that what a superseded driver writes later never counts.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from joulegrid.actors.result import Outcome, Task
from joulegrid.cluster.storage import Store
from joulegrid.errors import PreFlightError, RunHeldError
from joulegrid.jsontypes import Json

GROUP_S = 1.0
GROUP_EVENTS = 1_000
_SEGMENT = re.compile(r"log/\d{6,}-\d{9,}\.jsonl")


@dataclass(slots=True)
class TaskState:
    """The newest that the ledger knows of one task."""

    status: str
    """`running`, `done` or `failed`; a task that the ledger does not know is pending."""
    task_id: str | None = None
    attempt: int = 0
    lane: str | None = None
    path: str | None = None
    sha256: str | None = None
    duration_s: float | None = None
    energy_j: float | None = None
    provenance: str | None = None
    failure_class: str | None = None
    message: str | None = None


@dataclass
class Ledger:
    """The event log of one run, open for one driver."""

    store: Store
    epoch: int
    tasks: dict[tuple[int, int], TaskState]
    """(experiment, cycle) → state, from the log and from what was recorded since."""
    _waiting: list[dict[str, Json]] = field(default_factory=list)
    _seq: int = 0
    _since_s: float = 0.0

    @classmethod
    def open(cls, store: Store) -> Ledger:
        """Replay the log and take the next epoch. Raises `RunHeldError` when another driver takes it first."""
        segments = _accepted(_segments(store), store)
        tasks: dict[tuple[int, int], TaskState] = {}
        for name in segments:
            for event in _events(store, name):
                _apply(tasks, event)
        epochs = [_parts(name)[0] for name in _segments(store)]
        ledger = cls(store, max(epochs, default=0) + 1, tasks)
        last: dict[str, int] = {}
        for name in segments:
            epoch, seq = _parts(name)
            last[str(epoch)] = max(seq, last.get(str(epoch), 0))
        ledger._note({"event": "epoch", "accepted": last})
        ledger.flush()
        return ledger

    def started(self, task: Task) -> None:
        """Note that a task was given to a lane."""
        at = {"index": task.index, "cycle": task.cycle, "attempt": task.attempt, "task_id": task.id}
        self._record({"event": "started", **at})

    def ended(self, outcome: Outcome) -> None:
        """Note an outcome."""
        kept = {name: getattr(outcome, name, None) for name in TaskState.__dataclass_fields__}
        self._record({"event": "ended", "index": outcome.index, "cycle": outcome.cycle, **kept})

    def forget(self, index: int, cycle: int) -> None:
        """Note that a failed task is to be tried once more."""
        state = self.tasks[index, cycle]
        self._record({"event": "retried", "index": index, "cycle": cycle, "attempt": state.attempt + 1})

    def flush(self, *, if_due: bool = False) -> None:
        """Commit the waiting events; with `if_due` only when a second has passed or the group is full."""
        due = time.monotonic() - self._since_s >= GROUP_S or len(self._waiting) >= GROUP_EVENTS
        if not self._waiting or (if_due and not due):
            return
        data = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in self._waiting).encode()
        if not self.store.create(f"log/{self.epoch:06d}-{self._seq:09d}.jsonl", data):
            raise RunHeldError(
                f"another driver has taken over {self.store.url}: its epoch {self.epoch} is already in the log; "
                "this one stops, and what it has not committed runs again there"
            )
        self._waiting, self._seq = [], self._seq + 1

    def _record(self, event: dict[str, Json]) -> None:
        _apply(self.tasks, event)
        self._note(event)
        self.flush(if_due=True)

    def _note(self, event: dict[str, Json]) -> None:
        if not self._waiting:
            self._since_s = time.monotonic()
        self._waiting.append({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **event})


def read_tasks(store: Store) -> dict[tuple[int, int], TaskState]:
    """Replay the log of a run without taking it."""
    tasks: dict[tuple[int, int], TaskState] = {}
    for name in _accepted(_segments(store), store):
        for event in _events(store, name):
            _apply(tasks, event)
    return tasks


def _segments(store: Store) -> list[str]:
    return [path for path in store.list("log/") if _SEGMENT.fullmatch(path)]


def _parts(name: str) -> tuple[int, int]:
    epoch, seq = name.removeprefix("log/").removesuffix(".jsonl").split("-")
    return int(epoch), int(seq)


def _accepted(names: list[str], store: Store) -> list[str]:
    """Leave out what an epoch wrote after a later one had begun."""
    limits: dict[int, int] = {}
    starts = [name for name in names if _parts(name)[1] == 0]
    for name in starts:
        first = next(_events(store, name), None)
        accepted = (first or {}).get("accepted", {})
        for older in {_parts(other)[0] for other in starts if _parts(other)[0] < _parts(name)[0]}:
            limits[older] = min(limits.get(older, 10**9), int(accepted.get(str(older), -1)))
    return [name for name in names if _parts(name)[1] <= limits.get(_parts(name)[0], 10**9)]


def _events(store: Store, name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(store.get(name).splitlines(), 1):
        try:
            event = json.loads(line)
            if event["event"] != "epoch":
                event["index"], event["cycle"], event["attempt"]
            yield event
        except (ValueError, TypeError, KeyError) as error:
            raise PreFlightError(
                f"{store.url}/{name}, line {number}: no event of a ledger; the file was changed after it was written. "
                "Restore it from a copy, or start the study anew with --fresh"
            ) from error


def _apply(tasks: dict[tuple[int, int], TaskState], event: dict[str, Any]) -> None:
    kind = event.get("event")
    if kind == "epoch":
        return
    at = (event["index"], event["cycle"])
    if kind == "started":
        tasks[at] = TaskState("running", event.get("task_id"), event["attempt"])
    elif kind == "retried":
        tasks[at] = TaskState("pending", attempt=event["attempt"])
    elif kind == "ended":
        names = TaskState.__dataclass_fields__
        tasks[at] = TaskState(**{name: event[name] for name in names if name in event})
