"""A snapshot of the ledger's states: what a resume need not replay. A cache, never the truth: a damaged one is ignored.

One object a driver, `snap/{epoch:06d}`, replaced as a whole: zlib over JSON. It names the last segment that it covers
and, for every older epoch, the last one that counts.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import Any

from joulegrid.cluster.storage import Store
from joulegrid.jobs.state.states import States
from joulegrid.jobs.study.text import AS_JSON_ESCAPES

SCHEMA_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The states after a segment of an epoch, and the last accepted segments of the epochs before."""

    epoch: int
    seq: int
    accepted: dict[int, int]
    states: States

    def write(self, store: Store) -> None:
        """Replace this epoch's snapshot."""
        body = json.dumps(self.states.pack(), ensure_ascii=False).encode(errors=AS_JSON_ESCAPES)
        head: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "epoch": self.epoch, "seq": self.seq}
        head |= {"accepted": self.accepted, "sha256": hashlib.sha256(body).hexdigest()}
        store.put(_path(self.epoch), zlib.compress(json.dumps(head).encode() + b"\n" + body, 1))


def read_snapshot(store: Store, path: str) -> Snapshot | None:
    """Return a snapshot; `None` where it is damaged or of another version."""
    try:
        head, _, body = zlib.decompress(store.get(path)).decode().partition("\n")
        told = json.loads(head)
        if told["schema_version"] != SCHEMA_VERSION or hashlib.sha256(body.encode()).hexdigest() != told["sha256"]:
            return None
        accepted = {int(epoch): int(seq) for epoch, seq in told["accepted"].items()}
        return Snapshot(int(told["epoch"]), int(told["seq"]), accepted, States.unpack(json.loads(body)))
    except (FileNotFoundError, zlib.error, ValueError, TypeError, KeyError):
        return None


def _path(epoch: int) -> str:
    return f"snap/{epoch:06d}"
