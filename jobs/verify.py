"""Reading and hashing every committed result of a run again: its bytes alone, what they say is for the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from joulegrid.jobs.report.run_results import Damaged

if TYPE_CHECKING:
    from joulegrid.cluster.storage import Store

READ_AT_ONCE = 16
"""Results read side by side: on S3 the answers take longer than the bytes."""


def damaged_results(store: Store) -> list[Damaged]:
    """Return the committed results that are not there, or whose bytes are not those that their markers name."""
    return list(_damaged(store))


def _damaged(store: Store) -> Iterator[Damaged]:
    markers = iter(store.list("commit/"))
    with ThreadPoolExecutor(READ_AT_ONCE) as readers:
        while some := list(islice(markers, READ_AT_ONCE)):  # no more results in memory than are read at once
            yield from (one for one in readers.map(lambda marker: _look(store, marker), some) if one is not None)


def _look(store: Store, marker: str) -> Damaged | None:
    task = marker.rpartition("/")[2]
    try:
        told = json.loads(store.get(marker))
        path, sha256 = told["path"], told["sha256"]
    except (ValueError, KeyError, TypeError):
        return Damaged(task, f"its marker {marker} cannot be read")
    try:
        data = store.get(f"{path}/result.json")
    except FileNotFoundError:
        return Damaged(task, f"{path}/result.json is not there")
    if hashlib.sha256(data).hexdigest() != sha256:
        return Damaged(task, f"{path}/result.json has other bytes than were committed")
    return None
