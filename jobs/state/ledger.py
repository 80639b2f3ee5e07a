"""What has happened to every task: append-only segments, replayed at the next start.

A segment is one object, `log/{epoch}-{seq}.jsonl`, created once. Events are committed in groups: at the latest after
one second or 1,000 events. Each driver writes under an epoch of its own; the first event of an epoch lists the last
accepted segment of every older one, so that what a superseded driver writes later never counts. Which tasks a driver
is about to hand out is committed before (`reserved`), so that a resume knows whose markers to look for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from joulegrid.actors.outcome import Outcome
from joulegrid.actors.result import Task
from joulegrid.cluster.storage import Store
from joulegrid.errors import RunHeldError
from joulegrid.jobs.state.lease import Lease
from joulegrid.jobs.state.segments import Replay, replay, segment, segment_path
from joulegrid.jobs.state.snapshot import Snapshot
from joulegrid.jobs.state.states import At, States, TaskState
from joulegrid.jsontypes import Json

GROUP_S = 1.0
GROUP_EVENTS = 1_000
SNAPSHOT_SEGMENTS = 64
SNAPSHOT_SHARE = 0.02
"""Of a driver's time, at most."""


@dataclass
class Ledger:
    """The event log of one run, open for one driver."""

    store: Store
    epoch: int
    states: States
    damaged: list[str]
    """Segments that could not be trusted when this driver opened the ledger; the commit markers must be asked."""
    _accepted: dict[int, int]
    _waiting: list[str] = field(default_factory=list)
    _seq: int = 0
    _since_s: float = 0.0
    _snapped_seq: int = 0
    _snapped_s: float = field(default_factory=time.monotonic)
    _snapshot_s: float = 0.0

    @classmethod
    def open(cls, store: Store) -> Ledger:
        """Replay the log and take the next epoch, without a look at the lease."""
        return cls.begin(store, replay(store))

    @classmethod
    def begin(cls, store: Store, found: Replay, lease: Lease | None = None) -> Ledger:
        """Take the epoch after those that were found. Raises `RunHeldError` when another driver has it by now.

        `lease` is what the owner of the new epoch will write; the log has it first.
        """
        ledger = cls(store, found.last_epoch + 1, found.states, found.damaged, found.accepted)
        accepted: dict[str, Json] = {str(epoch): seq for epoch, seq in found.accepted.items()}
        ledger._record({"event": "epoch", "accepted": accepted} | ({"lease": asdict(lease)} if lease else {}))
        ledger.flush()
        return ledger

    def reserve(self, visits: Sequence[At]) -> None:
        """Commit that these tasks are about to be handed out; only then may they be."""
        self._record({"event": "reserved", "visits": [list(at) for at in visits]})
        self.flush()

    def asked(self, experiment: dict[str, Json]) -> None:
        """Note what a searcher proposed; the reservation of its visits commits it before it is run."""
        self._record({"event": "asked", **experiment})

    def started(self, task: Task) -> None:
        """Note that a task was given to a lane."""
        at = {"index": task.index, "cycle": task.cycle, "attempt": task.attempt, "task_id": task.id}
        self._record({"event": "started", **at})

    def ended(self, outcome: Outcome) -> None:
        """Note an outcome."""
        kept = {name: getattr(outcome, name, None) for name in TaskState.__dataclass_fields__}
        said = {name: value for name, value in kept.items() if value is not None}
        self._record({"event": "ended", "index": outcome.index, "cycle": outcome.cycle, **said})

    def retried(self, at: At, attempt: int) -> None:
        """Note that a task is to be tried (once more) with this attempt number."""
        self._record({"event": "retried", "index": at[0], "cycle": at[1], "attempt": attempt})

    def skipped(self, at: At, attempt: int, why: str) -> None:
        """Note that a task is left out by this driver."""
        self._record({"event": "skipped", "index": at[0], "cycle": at[1], "attempt": attempt, "why": why})

    def gave_up(self, why: str) -> None:
        """Note that the rest of the study is skipped by this driver."""
        self._record({"event": "gave_up", "why": why})

    def cycles(self, n_cycles: int, why: str) -> None:
        """Commit how many cycles the run has: nothing of the rest is begun before, and no later driver asks again."""
        self._record({"event": "cycles", "n_cycles": n_cycles, "why": why})
        self.note(f"n_cycles auto: {n_cycles}; {why}")
        self.flush()

    def note(self, text: str) -> None:
        """Note something that the run has to say of itself."""
        self._record({"event": "note", "text": text})

    def flush(self, *, if_due: bool = False) -> None:
        """Commit the waiting events; with `if_due` only when a second has passed or the group is full."""
        if not self._waiting:
            return
        if if_due and len(self._waiting) < GROUP_EVENTS and time.monotonic() - self._since_s < GROUP_S:
            return
        if not self.store.create(segment_path(self.epoch, self._seq), segment(self._waiting)):
            raise RunHeldError(
                f"another driver has taken over {self.store.url}: its epoch {self.epoch} is already in the log; "
                "this one stops, and what it has not committed runs again there"
            )
        self._waiting, self._seq = [], self._seq + 1
        self._snapshot_if_due()

    def snapshot(self) -> None:
        """Write what a resume would otherwise have to replay; everything that waits is committed first."""
        self.flush()
        began_s = time.monotonic()
        Snapshot(self.epoch, self._seq - 1, self._accepted, self.states).write(self.store)
        self._snapped_seq, self._snapped_s = self._seq, time.monotonic()
        self._snapshot_s = self._snapped_s - began_s

    def _snapshot_if_due(self) -> None:
        enough = self._seq - self._snapped_seq >= SNAPSHOT_SEGMENTS
        if enough and time.monotonic() - self._snapped_s >= self._snapshot_s / SNAPSHOT_SHARE:
            self.snapshot()

    def _record(self, event: dict[str, Json]) -> None:
        self.states.apply(event)
        if not self._waiting:
            self._since_s = time.monotonic()
        stamped = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}
        self._waiting.append(json.dumps(stamped, ensure_ascii=False))
        self.flush(if_due=True)


def read_states(store: Store) -> States:
    """Return the states of a run without taking it: what its newest driver has committed, tasks that run included."""
    return replay(store).states
