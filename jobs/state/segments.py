"""The ledger's segments as they lie in the store: which of them count, and what they say when they are replayed."""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from joulegrid.cluster.storage import Store
from joulegrid.jobs.state.snapshot import Snapshot, read_snapshot
from joulegrid.jobs.state.states import States
from joulegrid.jobs.study.text import AS_JSON_ESCAPES

READ_AT_ONCE = 16
"""Segments read side by side: on S3 the answers take longer than the bytes."""
_SEGMENT = re.compile(r"log/(\d{6,})-(\d{9,})\.jsonl")
_SNAPSHOT = re.compile(r"snap/\d{6,}")


@dataclass
class Replay:
    """What the log of a run says."""

    states: States
    last_epoch: int
    """The newest that any driver has taken; 0 where none has."""
    accepted: dict[int, int]
    """Epoch → its last segment that counts."""
    damaged: list[str] = field(default_factory=list)
    """Segments whose bytes are not those that were committed; nothing of them was taken."""
    found: list[tuple[int, int]] = field(default_factory=list)
    """(epoch, number) of every segment that lay there."""
    n_replayed: int = 0
    """Segments that no snapshot covered."""

    def is_current(self, store: Store) -> bool:
        """Whether nobody has written a segment since."""
        return self.found == _found(store)


def segment(events: Sequence[str]) -> bytes:
    """Return the bytes of a segment: one event a line, and last their sha256."""
    body = "".join(f"{event}\n" for event in events).encode(errors=AS_JSON_ESCAPES)
    return body + json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n"


def segment_path(epoch: int, seq: int) -> str:
    """Return the path of a segment."""
    return f"log/{epoch:06d}-{seq:09d}.jsonl"


def replay(store: Store) -> Replay:
    """Replay the log of a run: its newest valid snapshot, then every later segment that counts."""
    found = _found(store)
    starts: dict[int, dict[int, int]] = {}
    snapshot = _newest_snapshot(store, found, starts)
    limits = snapshot.accepted if snapshot else {}
    begins = snapshot.epoch if snapshot else 0
    limits = limits | _limits(_first_events(store, found, begins, starts))
    after = (snapshot.epoch, snapshot.seq) if snapshot else (0, -1)
    counted = [(epoch, seq) for epoch, seq in found if seq <= limits.get(epoch, seq)]
    result = Replay(snapshot.states if snapshot else States(), max((*(epoch for epoch, _ in found), begins)), {})
    result.accepted, result.found = dict(limits), found
    result.damaged = _missing(counted, limits, after)
    for epoch, seq in counted:
        result.accepted[epoch] = max(seq, result.accepted.get(epoch, 0))
    later = [one for one in counted if one > after]
    result.n_replayed = len(later)
    for path, data in _read(store, [segment_path(*one) for one in later]):
        events = _events(data)
        if events is None:
            result.damaged.append(path)
        for event in events or ():
            result.states.apply(event)
    return result


def _found(store: Store) -> list[tuple[int, int]]:
    """(epoch, number) of every segment that lies there, in their order."""
    return sorted((int(m[1]), int(m[2])) for m in map(_SEGMENT.fullmatch, store.list("log/")) if m)


def first_event(store: Store, epoch: int) -> dict[str, Any]:
    """Return what a driver logged when it took an epoch; empty where that cannot be read."""
    try:
        events = _events(store.get(segment_path(epoch, 0)))
    except FileNotFoundError:
        return {}
    return events[0] if events else {}


def _missing(counted: Sequence[tuple[int, int]], limits: dict[int, int], after: tuple[int, int]) -> list[str]:
    """Segments that must have been there: each driver numbers its own without a gap."""
    last = limits | {epoch: seq for epoch, seq in counted if seq >= limits.get(epoch, 0)}
    expected = ((epoch, seq) for epoch, most in last.items() for seq in range(most + 1))
    there = set(counted)
    return [segment_path(*one) for one in sorted(expected) if one > after and one not in there]


def _newest_snapshot(
    store: Store, found: Sequence[tuple[int, int]], starts: dict[int, dict[int, int]]
) -> Snapshot | None:
    """The newest one that tells of nothing which a later epoch does not accept."""
    for path in sorted(filter(_SNAPSHOT.fullmatch, store.list("snap/")), reverse=True):
        snapshot = read_snapshot(store, path)
        if snapshot is None:
            continue
        limits = _limits(_first_events(store, found, snapshot.epoch, starts))
        if snapshot.seq <= limits.get(snapshot.epoch, snapshot.seq):
            return snapshot
    return None


def _first_events(
    store: Store, found: Sequence[tuple[int, int]], after: int, known: dict[int, dict[int, int]]
) -> dict[int, dict[int, int]]:
    """Epoch → what its first event accepts of the older ones, for the epochs after one."""
    wanted = [epoch for epoch, seq in found if seq == 0 and epoch > after]
    for path, data in _read(store, [segment_path(epoch, 0) for epoch in wanted if epoch not in known]):
        epoch = int(path[4:].partition("-")[0])
        events = _events(data)
        if events is not None:  # a damaged one restricts nothing
            older = {other for other, _ in found if other < epoch}
            known[epoch] = {other: int(events[0]["accepted"].get(str(other), -1)) for other in older}
    return {epoch: known[epoch] for epoch in wanted if epoch in known}


def _limits(starts: dict[int, dict[int, int]]) -> dict[int, int]:
    limits: dict[int, int] = {}
    for accepted in starts.values():
        for epoch, seq in accepted.items():
            limits[epoch] = min(seq, limits.get(epoch, seq))
    return limits


def _read(store: Store, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield paths and what lies there; while one is worked on, the next ones are on their way."""
    with ThreadPoolExecutor(READ_AT_ONCE) as readers:
        coming: deque[tuple[str, Future[bytes]]] = deque()
        for path in paths:
            coming.append((path, readers.submit(store.get, path)))
            if len(coming) > READ_AT_ONCE:
                first, data = coming.popleft()
                yield first, data.result()
        for first, data in coming:
            yield first, data.result()


def _events(data: bytes) -> list[dict[str, Any]] | None:
    """Return the events of a segment; `None` where these are not the bytes that were committed."""
    body, newline, last = data.rstrip(b"\n").rpartition(b"\n")
    try:
        if json.loads(last)["sha256"] != hashlib.sha256(body + newline).hexdigest():
            return None
    except (ValueError, TypeError, KeyError):
        return None
    events: list[dict[str, Any]] = json.loads(b"[%b]" % body.replace(b"\n", b","))  # twice as fast as line by line
    return events
