"""`manifest.json`: the state of a run for people, valid at every instant.

It is written through at each transition, unless that would take more than a twentieth of the time; then it follows
when its turn comes. The truth is in ledger and markers.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

from joulegrid.cluster.storage import Store
from joulegrid.jobs.state.states import At
from joulegrid.jobs.study.text import AS_JSON_ESCAPES
from joulegrid.jsontypes import Json

TASKS_LISTED = 10_000
"""Above so many tasks the manifest lists failures only, and of them the first thousand."""
FAILURES_LISTED = 1_000
SHARE = 0.05


@dataclass
class Manifest:
    """Writes the manifest of one run; remembers the text of every task's entry."""

    store: Store
    _entries: dict[At, str] = field(default_factory=dict)
    _written_s: float = 0.0
    _cost_s: float = 0.0
    _owed: bool = False

    def is_due(self) -> bool:
        """Whether another write stays within its share of the time; if not, one is owed."""
        self._owed = True
        return time.monotonic() - self._written_s >= self._cost_s / SHARE

    @property
    def is_owed(self) -> bool:
        """Whether something has changed that no write has told yet."""
        return self._owed

    def enter(self, at: At, entry: dict[str, Json]) -> None:
        """Set or replace a task's entry."""
        self._entries[at] = json.dumps(entry, ensure_ascii=False)

    @property
    def has_room(self) -> bool:
        """Whether one more failure of a large run can be listed."""
        return len(self._entries) < FAILURES_LISTED

    def leave_out(self, at: At) -> None:
        """Remove a task's entry, if it has one."""
        self._entries.pop(at, None)

    def write(self, head: dict[str, Json]) -> None:
        """Write the head's fields and, last, the list of tasks."""
        began_s = time.monotonic()
        self.store.put("manifest.json", self.text(head).encode(errors=AS_JSON_ESCAPES))
        self._written_s, self._owed = time.monotonic(), False
        self._cost_s = self._written_s - began_s

    def text(self, head: dict[str, Json]) -> str:
        """Return the manifest's JSON."""
        about = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
        tasks = ",\n  ".join(self._entries.values())
        return f'{about},\n "tasks": [{tasks and f"{chr(10)}  {tasks}{chr(10)} "}]\n}}\n'
