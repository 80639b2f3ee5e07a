"""One transition of a task in the ledger, durable on disk, in a run of a thousand tasks and in one of a million."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.measurement import Series, ratios
from joulegrid.actors.outcome import Outcome
from joulegrid.actors.result import Task
from joulegrid.cluster.folder import FolderStore
from joulegrid.jobs.state.ledger import Ledger
from joulegrid.jobs.state.states import TaskState

SMALL, LARGE = 1_000, 1_000_000
TIMED = 5_000
"""Tasks, each with two transitions: started, ended."""
BLOCK = 256


def measure(rounds: int) -> list[Series]:
    """Return microseconds per transition for both sizes, and the ratio."""
    rows = {n: Series(f"transition in a run of {n:,} tasks", "µs") for n in (SMALL, LARGE)}
    for _ in range(rounds):
        for n, row in rows.items():
            row.values.append(_transition_us(n))
    return [*rows.values(), ratios(rows[LARGE], rows[SMALL])]


def _transition_us(n_before: int) -> float:
    """Time tasks after `n_before` others are done; where those are few, over them again and again."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(FolderStore(Path(folder)))
        for index in range(n_before):
            ledger.states.force((index, 0), TaskState("done"))
        first = n_before if n_before > TIMED else 0
        began_s = time.perf_counter()
        run_through(ledger, [first + number % max(TIMED if first else n_before, 1) for number in range(TIMED)])
        ledger.flush()
        return (time.perf_counter() - began_s) / (2 * TIMED) * 1e6


def run_through(ledger: Ledger, indices: list[int]) -> None:
    """Reserve, start and end a task of each index, as a driver does."""
    for place, index in enumerate(indices):
        if place % BLOCK == 0:
            ledger.reserve([(other, 0) for other in indices[place : place + BLOCK]])
        task = Task(index, 0, 0, f"{index:016x}", "x=1", {}, {}, {}, {})
        ledger.started(task)
        path = f"results/{task.key[:2]}/x-1_{task.key[:8]}_c0-a0"
        ledger.ended(Outcome(task.id, index, 0, 0, "done", "node/cpu0", path, "0" * 64, 4_096, 0.01, 0.1, "modelled"))
