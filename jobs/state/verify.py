"""Reading and hashing every committed result of a run again: its bytes alone, what they say is for the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import TYPE_CHECKING

from joulegrid.actors.commit import task_of
from joulegrid.jobs.report.run_results import Damaged

if TYPE_CHECKING:
    from joulegrid.cluster.storage import Store

READ_AT_ONCE = 16
"""Results read side by side: on S3 the answers take longer than the bytes."""


@dataclass(slots=True)
class Verified:
    """What was found."""

    n_tasks: int = 0
    """Tasks that have a marker."""
    damaged: list[Damaged] = field(default_factory=list)
    """Tasks none of whose results is what was committed."""


def verified(store: Store) -> Verified:
    """Read every marker and its result, and compare the bytes. A task is sound if one of its markers holds."""
    found = Verified()
    for task, looks in groupby(_looks(store), key=lambda look: look[0]):
        reasons = [reason for _, reason in looks]
        found.n_tasks += 1
        if None not in reasons:
            found.damaged.append(Damaged(task, str(reasons[-1])))
    return found


def _looks(store: Store) -> Iterator[tuple[str, str | None]]:
    """Yield each marker's task, and what is wrong with its result."""
    markers = iter(store.list("commit/"))
    with ThreadPoolExecutor(READ_AT_ONCE) as readers:
        while some := list(islice(markers, READ_AT_ONCE)):  # no more results in memory than are read at once
            yield from zip(map(task_of, some), readers.map(lambda marker: _fault(store, marker), some), strict=True)


def _fault(store: Store, marker: str) -> str | None:
    try:
        told = json.loads(store.get(marker))
        path, sha256 = str(told["path"]), told["sha256"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return f"its marker {marker} cannot be read"
    try:
        data = store.get(f"{path}/result.json")
    except (FileNotFoundError, ValueError):
        return f"{path}/result.json is not there"
    if hashlib.sha256(data).hexdigest() != sha256:
        return f"{path}/result.json has other bytes than were committed"
    return None
