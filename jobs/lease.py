"""Who drives a run: one object that is renewed while its owner lives."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from joulegrid.cluster.storage import Store
from joulegrid.errors import RunHeldError

RENEW_S = 5.0
STALE_S = 30.0
"""An owner on another host that has not renewed for so long is taken for dead."""


@dataclass
class Lease:
    """The lease of one run. Times are wall-clock seconds, because they are compared across hosts."""

    owner: str
    host: str
    pid: int
    renewed_s: float
    released: bool = False

    @classmethod
    def take(cls, store: Store) -> Lease:
        """Take the lease, or raise `RunHeldError` naming its living owner."""
        held = read_lease(store)
        if held is not None and held.is_alive():
            ago = time.time() - held.renewed_s
            raise RunHeldError(
                f"{store.url} is driven by process {held.pid} on {held.host}, seen {ago:.0f} s ago; wait for it, "
                f"stop it, or start a run of its own with --fresh"
            )
        lease = cls(secrets.token_hex(8), socket.gethostname(), os.getpid(), time.time())
        lease._write(store)
        return lease

    def renew(self, store: Store) -> None:
        """Say that this driver lives; at most once in five seconds.

        Raises:
            RunHeldError: when somebody else has taken the run, as while this process was stopped.
        """
        if abs(time.time() - self.renewed_s) < RENEW_S:  # the clock may step back
            return
        held = read_lease(store)
        if held is not None and held.owner != self.owner:
            raise RunHeldError(
                f"{store.url} was taken over by process {held.pid} on {held.host} while this one did not answer; "
                "it stops, and what it has not committed runs again there"
            )
        self.renewed_s = time.time()
        self._write(store)

    def release(self, store: Store) -> None:
        """Give the run back, unless somebody else has it by now."""
        held = read_lease(store)
        if held is None or held.owner == self.owner:
            self.released, self.renewed_s = True, time.time()
            self._write(store)

    def is_alive(self) -> bool:
        """Whether the owner may still be at work."""
        if self.released:
            return False
        if self.host == socket.gethostname() and not Path(f"/proc/{self.pid}").exists():
            return False
        return abs(time.time() - self.renewed_s) < STALE_S  # another host's clock may run ahead

    def _write(self, store: Store) -> None:
        store.put("lease", json.dumps(asdict(self)).encode())


def was_released(store: Store) -> bool:
    """Whether the last driver of a run gave it back; a lease that nobody can read holds nothing."""
    held = read_lease(store)
    return held is None or held.released


def read_lease(store: Store) -> Lease | None:
    """Return the lease as it lies there, whoever holds it; `None` where there is none that can be read."""
    try:
        lease = Lease(**json.loads(store.get("lease")))
        lease.renewed_s = float(lease.renewed_s)
        return lease
    except (FileNotFoundError, ValueError, TypeError):
        return None  # absent, or torn by hand: nobody can be named
