"""Who drives a run: one object that is renewed while its owner lives.

The newest epoch of the log decides who may write; the lease says who that is, and whether it lives. Of two leases the
one of the higher epoch counts, so that a driver which was slow to write its own cannot take the run from another.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from joulegrid.cluster.storage import Store
from joulegrid.errors import JoulegridError, RunHeldError, UsageError
from joulegrid.jsontypes import Json

STALE_S = 30.0
"""An owner that has not renewed for so long may be dead; `JOULEGRID_LEASE_STALE_S` sets another limit."""
RENEWALS = 6
"""In the time after which a lease is stale."""
LAST_EPOCH = 1_000_000
"""A lease that names a later epoch was changed by hand; drivers of a run are counted, not drawn."""
LAST_S = 253_402_300_799.0
"""The end of the year 9999: no lease was renewed later."""
_WRITING = threading.Lock()
"""A driver and the renewal beside it write one lease."""
WATCHED = 1.5
"""Periods of renewal for which a lease that looks stale is watched: the clocks of two hosts may differ by hours."""


@dataclass
class Lease:
    """The lease of one run. Times are wall-clock seconds, because they are compared across hosts."""

    owner: str
    host: str
    pid: int
    renewed_s: float
    released: bool = False
    epoch: int = 0
    boot_id: str | None = None
    """Which boot of which machine the owner lives in; `None` where its lease does not say."""
    pid_namespace: int | None = None
    """In which process table `pid` means something. Containers may share a host name, and each has a process 1."""

    @classmethod
    def of_this_process(cls, epoch: int) -> Lease:
        """Return this driver's lease under an epoch of the log; it says nothing to others before it is written."""
        boot_id, pid_namespace = process_table()
        owner, host = secrets.token_hex(8), socket.gethostname()
        return cls(owner, host, os.getpid(), time.time(), False, epoch, boot_id, pid_namespace)

    @classmethod
    def take(cls, store: Store) -> Lease:
        """Take the lease under the epoch that it has, or raise `RunHeldError` naming its living owner."""
        held = read_lease(store)
        refuse_alive(store, held)
        lease = cls.of_this_process(held.epoch if held is not None else 0)
        store.put("lease", lease.text())
        return lease

    def write(self, store: Store) -> None:
        """Say that this driver holds the run. Raises `RunHeldError` where another one does by now."""
        with _WRITING:
            if self.released:  # the renewal beside the driver came late: what was given back stays so
                return
            held = read_lease(store)
            if held is not None and self._is_older(held):
                raise RunHeldError(
                    f"{store.url} was taken over by process {held.pid} on {held.host} while this one did not answer; "
                    "it stops, and what it has not committed runs again there"
                )
            self.renewed_s = time.time()
            store.put("lease", self.text())

    def text(self) -> bytes:
        """Return the bytes that `read_lease` reads."""
        return json.dumps(asdict(self)).encode()

    def renew(self, store: Store) -> None:
        """Say that this driver lives; at most once in five seconds.

        Raises:
            RunHeldError: when somebody else has taken the run, as while this process was stopped.
        """
        if abs(time.time() - self.renewed_s) >= renewed_every_s():  # the clock may step back
            self.write(store)

    def release(self, store: Store) -> None:
        """Give the run back, unless somebody else has it by now."""
        with _WRITING:
            held = read_lease(store)
            if held is None or not self._is_older(held):
                self.released, self.renewed_s = True, time.time()
                store.put("lease", self.text())

    def is_alive(self) -> bool:
        """Whether the owner may still be at work, by this host's clock."""
        if self.released or self.is_gone():
            return False
        return abs(time.time() - self.renewed_s) < stale_s()  # another host's clock may run ahead

    def is_gone(self) -> bool:
        """Whether it was a process of this process table that has ended; a zombie has ended, though it is listed.

        Of a process in another container, or of another boot, that cannot be asked: then its renewals tell.
        """
        if None in (self.boot_id, self.pid_namespace) or (self.boot_id, self.pid_namespace) != process_table():
            return False
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    def _is_older(self, held: Lease) -> bool:
        """Of one epoch there are two owners only in a store that ignores conditional writes: the later one has it."""
        return held.epoch > self.epoch or (held.epoch == self.epoch and held.owner != self.owner)


@contextmanager
def kept(lease: Lease, store: Store) -> Iterator[None]:
    """Renew a lease beside whatever else takes long: the start of Ray, a wait for workers, a report.

    What the renewal finds wrong is met again, and raised, by the driver's own next look.
    """
    over = threading.Event()

    def renew() -> None:
        while not over.wait(renewed_every_s()):
            with contextlib.suppress(JoulegridError):
                lease.renew(store)

    beside = threading.Thread(target=renew, name="lease", daemon=True)
    beside.start()
    try:
        yield
    finally:
        over.set()
        beside.join()


def refuse_alive(store: Store, held: Lease | None) -> None:
    """Raise `RunHeldError` where the owner of a run lives.

    A lease that looks stale is watched for a while: an owner whose clock is wrong, or ours, still renews it.
    """
    if held is None or held.released or held.is_gone():
        return
    if not held.is_alive():
        time.sleep(WATCHED * renewed_every_s())
        seen = read_lease(store)
        if seen is None or seen.released or seen.epoch < held.epoch or seen.text() == held.text():
            return
        held = seen
    ago = max(0.0, time.time() - held.renewed_s)
    raise RunHeldError(
        f"{store.url} is driven by process {held.pid} on {held.host}, seen {ago:.0f} s ago; wait for it, "
        f"stop it, or start a run of its own with --fresh"
    )


def was_released(store: Store) -> bool:
    """Whether the last driver of a run gave it back; a lease that nobody can read holds nothing."""
    held = read_lease(store)
    return held is None or held.released


def read_lease(store: Store) -> Lease | None:
    """Return the lease as it lies there, whoever holds it; `None` where there is none that can be read."""
    try:
        return lease_of(json.loads(store.get("lease")))
    except (FileNotFoundError, ValueError):
        return None  # absent, or torn by hand: nobody can be named


def lease_of(told: Json) -> Lease | None:
    """Return a lease from its fields; `None` where they are none, or no driver can have written them."""
    try:
        lease = Lease(**told)  # what is no mapping is a TypeError
        lease.renewed_s, lease.epoch, lease.pid = float(lease.renewed_s), int(lease.epoch), int(lease.pid)
    except (ValueError, TypeError, OverflowError):
        return None
    sound = 0.0 <= lease.renewed_s <= LAST_S and 0 <= lease.epoch <= LAST_EPOCH and 0 < lease.pid < 2**31
    return lease if sound and isinstance(lease.host, str) and isinstance(lease.released, bool) else None


def process_table() -> tuple[str | None, int | None]:
    """Return the boot of this machine and the process table in which this process has its number, where /proc tells."""
    with contextlib.suppress(OSError):
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot_id, Path("/proc/self/ns/pid").stat().st_ino
    return None, None


def stale_s() -> float:
    """Return after how many seconds without a renewal an owner is taken for dead; `UsageError` for no such number."""
    given = os.environ.get("JOULEGRID_LEASE_STALE_S")
    try:
        seconds = float(given) if given else STALE_S
    except ValueError:
        seconds = math.nan
    if not 1.0 <= seconds < math.inf:
        raise UsageError(f"JOULEGRID_LEASE_STALE_S={given!r}: give seconds, 1 or more; all drivers of a run the same")
    return seconds


def renewed_every_s() -> float:
    """Return how often an owner renews."""
    return stale_s() / RENEWALS
