"""Committing a result: the marker that decides which attempt at a task counts, and what it must hash to.

The first marker wins. Only where its result turns out to be damaged may a second one stand beside it (`….2`), and so
on: of a task's markers the first whose result is what was committed counts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

from joulegrid.actors.attempt import outcome_of
from joulegrid.actors.outcome import Outcome
from joulegrid.actors.result import ExperimentResult, Task
from joulegrid.cluster.storage import Store

DAMAGED = "the committed result "
"""How the message begins when what was committed cannot be used."""
_GENERATION = re.compile(r"\.\d+$")


def marker_path(task: Task, generation: int = 1) -> str:
    """Return the path of a marker that commits a task's result."""
    return f"commit/{task.key[:2]}/{task.id}{f'.{generation}' if generation > 1 else ''}"


def task_of(marker: str) -> str:
    """Return the id (`{key}-c{cycle}`) of the task that a marker's path belongs to."""
    return _GENERATION.sub("", marker.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class Done:
    """A done attempt whose result is written, but not committed yet."""

    task: Task
    outcome: Outcome


def commit_all(store: Store, done: Sequence[Done]) -> list[Outcome]:
    """Commit done attempts together; return of each what counts: this one, or an earlier one that was first."""
    markers = {marker_path(one.task): _marker(one.outcome) for one in done}
    were_first = store.create_all(markers) if markers else []
    return [
        one.outcome if first else commit(store, one.task, one.outcome)
        for one, first in zip(done, were_first, strict=True)
    ]


def commit(store: Store, task: Task, outcome: Outcome) -> Outcome:
    """Commit a done attempt and return what counts: this one, or an earlier one that was first."""
    for generation in count(1):
        if store.create(marker_path(task, generation), _marker(outcome)):
            return outcome
        earlier = _read(store, task, generation)
        if earlier.status == "done":
            return earlier
    raise AssertionError("unreachable")


def committed(store: Store, task: Task) -> Outcome | None:
    """Return the outcome that counts; `infra` where all that was committed is damaged, `None` without a marker."""
    found = None
    for generation in count(1):
        if not store.exists(marker_path(task, generation)):
            return found
        found = _read(store, task, generation)
        if found.status == "done":
            return found
    raise AssertionError("unreachable")


def _marker(outcome: Outcome) -> bytes:
    fields = {"attempt": outcome.attempt, "path": outcome.path, "sha256": outcome.sha256, "size": outcome.size}
    return json.dumps(fields, sort_keys=True).encode()


def _read(store: Store, task: Task, generation: int) -> Outcome:
    try:
        told = json.loads(store.get(marker_path(task, generation)))
        counted = replace(task, attempt=int(told["attempt"]))
        data = store.get(f"{told['path']}/result.json")
        if hashlib.sha256(data).hexdigest() != told["sha256"]:
            return Outcome.lost(counted, "", f"{DAMAGED}does not match its marker")
        return outcome_of(counted, ExperimentResult.model_validate_json(data), told["path"], data)
    except (FileNotFoundError, ValueError, TypeError, KeyError) as error:
        return Outcome.lost(task, "", f"{DAMAGED}is damaged: {type(error).__name__}: {error}")
