"""The state of every task of a run in little memory: one byte a task, and details where a person wants them. Pure."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from joulegrid.actors.result import FailureClass
from joulegrid.jsontypes import Json

At = tuple[int, int]
"""(experiment, cycle)."""
DETAILS_KEPT = 10_000
"""Of so many tasks everything is kept; of a larger run only what failed, up to `FAILURES_KEPT`."""
FAILURES_KEPT = 1_000
FINAL = ("done", "failed")

_PENDING, _RUNNING, _DONE, _SKIPPED, _FAILED = range(5)
_CLASSES: tuple[str, ...] = ("unknown", *get_args(FailureClass))
_NAMES = ("pending", "running", "done", "skipped", *("failed" for _ in _CLASSES))
_CODES = {"pending": _PENDING, "running": _RUNNING, "done": _DONE, "skipped": _SKIPPED}


@dataclass(slots=True)
class TaskState:
    """The newest that the ledger knows of one task."""

    status: str
    """`pending`, `running`, `done`, `failed` or `skipped`."""
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
class States:
    """All tasks of a run: their states, counts, and the sums that a person asks for while it runs."""

    details: dict[At, TaskState] = field(default_factory=dict)
    """Everything about the first tasks and about failures; what is not here is known by its status alone."""
    attempts: dict[At, int] = field(default_factory=dict)
    """The next attempt's number of open tasks that were begun before."""
    open: set[At] = field(default_factory=set)
    """Reserved for a driver and not final: the tasks that may have a marker which no event tells of."""
    joules: dict[str, float] = field(default_factory=dict)
    """Provenance → joules of the headline windows of all done tasks."""
    seconds: float = 0.0
    """Sum of the durations of all ended tasks."""
    n_timed: int = 0
    notes: list[str] = field(default_factory=list)
    """What the run has to say of itself, such as a breaker that gave something up."""
    n_cycles_decided: int | None = None
    """What the pilot of `n_cycles: auto` came to; it is decided once."""
    gave_up: str | None = None
    """Why the rest of the study is skipped; a new driver tries again."""
    asked: list[dict[str, Json]] = field(default_factory=list)
    """The experiments that a searcher proposed, in their order."""
    _codes: list[bytearray] = field(default_factory=list)
    _counts: list[Counter[int]] = field(default_factory=list)

    def status(self, at: At) -> str:
        """Return the status of a task."""
        return _NAMES[self._code(at)]

    def is_final(self, at: At) -> bool:
        """Whether a task needs no further attempt."""
        code = self._code(at)
        return code == _DONE or code >= _FAILED

    def state(self, at: At) -> TaskState:
        """Return what is known of a task: all of it, or its status and failure class."""
        if at in self.details:
            return self.details[at]
        code = self._code(at)
        return TaskState(_NAMES[code], failure_class=_CLASSES[code - _FAILED] if code >= _FAILED else None)

    def next_attempt(self, at: At) -> int:
        """Return the number of a task's next attempt."""
        return self.attempts.get(at, 0)

    def counts(self, n_experiments: int, n_cycles: int) -> dict[str, int]:
        """Count the planned tasks by status; those that nothing is known of are pending, or skipped once given up."""
        found: Counter[str] = Counter()
        for counted in self._counts[:n_cycles]:
            for code, count in counted.items():
                found[_NAMES[code]] += count
        n_tasks = n_experiments * n_cycles
        known = {status: found[status] for status in ("done", "failed", "running", "skipped")}
        rest = n_tasks - sum(known.values())
        if self.gave_up is not None:
            known["skipped"], rest = known["skipped"] + rest, 0
        return {"n_tasks": n_tasks, **known, "pending": rest}

    @property
    def n_cycles(self) -> int:
        """Number of cycles of which anything is known."""
        return len(self._codes)

    def failures(self) -> dict[str, int]:
        """Count the failed tasks by class."""
        found: Counter[str] = Counter()
        for counted in self._counts:
            for code, count in counted.items():
                if code >= _FAILED and count:
                    found[_CLASSES[code - _FAILED]] += count
        return dict(sorted(found.items()))

    def pack(self) -> dict[str, Json]:
        """Return everything as JSON, for a snapshot."""
        return {
            "codes": [base64.b64encode(bytes(row)).decode() for row in self._codes],
            "classes": list(_CLASSES),
            "details": [[*at, *(getattr(self.details[at], name) for name in _FIELDS)] for at in sorted(self.details)],
            "fields": list(_FIELDS),
            "attempts": [[*at, attempt] for at, attempt in sorted(self.attempts.items())],
            "open": [list(at) for at in sorted(self.open)],
            **{name: getattr(self, name) for name in _PLAIN},
        }

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> States:
        """Return the states of a snapshot; `ValueError` or the like for one of another version."""
        if tuple(packed["classes"]) != _CLASSES or tuple(packed["fields"]) != _FIELDS:
            raise ValueError("a snapshot of another version")
        codes = [bytearray(base64.b64decode(row)) for row in packed["codes"]]
        return cls(
            details={(index, cycle): TaskState(*rest) for index, cycle, *rest in packed["details"]},
            attempts={(index, cycle): attempt for index, cycle, attempt in packed["attempts"]},
            open={(index, cycle) for index, cycle in packed["open"]},
            **{name: packed[name] for name in _PLAIN},
            _codes=codes,
            _counts=[Counter(row) for row in codes],
        )

    def with_status(self, *statuses: str) -> Iterator[At]:
        """Yield the tasks that have one of these statuses."""
        codes = bytes(code for code, name in enumerate(_NAMES) if name in statuses)
        for cycle, row in enumerate(self._codes):
            if any(code in row for code in codes):
                yield from ((index, cycle) for index, code in enumerate(row) if code in codes)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take one event of the ledger; an event of an unknown kind changes nothing."""
        kind = event["event"]
        if kind == "ended":
            self._ended(event)
        elif kind == "started":
            self._set((event["index"], event["cycle"]), TaskState("running", event.get("task_id"), event["attempt"]))
        elif kind == "reserved":
            self.open.update((index, cycle) for index, cycle in event["visits"])
        elif kind in ("retried", "skipped"):
            self._take_back((event["index"], event["cycle"]))
            status = "pending" if kind == "retried" else "skipped"
            self._set((event["index"], event["cycle"]), TaskState(status, attempt=event["attempt"]))
        elif kind == "asked":
            self.asked.append({name: value for name, value in event.items() if name not in ("event", "at")})
        elif kind == "gave_up":
            self.gave_up = str(event["why"])
        elif kind == "epoch":
            self.interrupt()
        elif kind == "cycles":
            self.n_cycles_decided = int(event["n_cycles"])
        elif kind == "note":
            self.notes.append(str(event["text"]))

    def force(self, at: At, state: TaskState) -> None:
        """Set a task's state without an event, as a snapshot does."""
        self._set(at, state)

    def interrupt(self) -> None:
        """Take what ran when its driver ended for pending, as the next one begins: a number is used, no try is."""
        self.gave_up = None
        for at in [*self.with_status("running"), *self.with_status("skipped")]:
            state = self.state(at)
            self._set(at, TaskState("pending", attempt=state.attempt + (state.status == "running")))

    def _take_back(self, at: At) -> None:
        """A result that is to be made again does not count; of a large run the joules of old ones are not known."""
        state = self.details.get(at)
        if state is not None and state.status == "done" and state.energy_j is not None and state.provenance:
            self.joules[state.provenance] -= state.energy_j

    def _ended(self, event: Mapping[str, Any]) -> None:
        at = (event["index"], event["cycle"])
        told: list[Any] = [event.get(name) for name in _FIELDS]
        state = TaskState(*told)
        state.attempt = state.attempt or 0
        self._set(at, state)
        if state.duration_s is not None and state.path:
            self.seconds, self.n_timed = self.seconds + state.duration_s, self.n_timed + 1
        if state.energy_j is not None and state.provenance is not None:
            self.joules[state.provenance] = self.joules.get(state.provenance, 0.0) + state.energy_j

    def _set(self, at: At, state: TaskState) -> None:
        code = _CODES.get(state.status)
        if code is None:
            code = _FAILED + (_CLASSES.index(state.failure_class) if state.failure_class in _CLASSES else 0)
        index, cycle = at
        while len(self._codes) <= cycle:
            self._codes.append(bytearray())
            self._counts.append(Counter())
        row, counts = self._codes[cycle], self._counts[cycle]
        if len(row) <= index:
            row.extend(bytes(max(index + 1 - len(row), len(row) // 2)))  # `bytes(n)` is n times pending
        counts[row[index]] -= 1
        counts[code] += 1
        row[index] = code
        self._keep(at, state, final=code == _DONE or code >= _FAILED)

    def _keep(self, at: At, state: TaskState, *, final: bool) -> None:
        if final:
            self.open.discard(at)
            self.attempts.pop(at, None)
        elif state.status == "pending" and state.attempt:
            self.attempts[at] = state.attempt
        others = len(self.details) - (at in self.details)
        limit = DETAILS_KEPT + FAILURES_KEPT if state.status == "failed" else DETAILS_KEPT
        if state.status == "running" or others < limit:
            self.details[at] = state
        else:
            self.details.pop(at, None)

    def _code(self, at: At) -> int:
        index, cycle = at
        if cycle >= len(self._codes) or index >= len(self._codes[cycle]):
            return _PENDING
        return self._codes[cycle][index]


_FIELDS = tuple(TaskState.__dataclass_fields__)
_PLAIN = ("joules", "seconds", "n_timed", "notes", "gave_up", "asked", "n_cycles_decided")
