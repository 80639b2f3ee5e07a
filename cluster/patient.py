"""A store that waits for itself: an operation that fails is tried again until a minute has passed.

What is underneath may be away for a moment: a network file system that is mounted anew, an S3 server that is started
again, a full disk on which somebody makes room. A task's result is worth waiting for, and so is the run.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from joulegrid.cluster.storage import Store, StoreError
from joulegrid.errors import UsageError

T = TypeVar("T")
PATIENCE_S = 60.0
"""From the first try of an operation on; `JOULEGRID_STORE_PATIENCE_S` sets another time, 0 waits for nothing."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
"""Each pause is twice the one before, up to this."""
_log = logging.getLogger(__name__)


def patience_s() -> float:
    """Return how long a store is waited for; `UsageError` where the environment says no such number."""
    given = os.environ.get("JOULEGRID_STORE_PATIENCE_S")
    try:
        seconds = float(given) if given else PATIENCE_S
    except ValueError:
        seconds = math.nan
    if not 0.0 <= seconds < math.inf:
        raise UsageError(f"JOULEGRID_STORE_PATIENCE_S={given!r}: give seconds, 0 or more")
    return seconds


@dataclass
class PatientStore:
    """A `joulegrid.cluster.storage.Store` around another one. Safe to pickle: a worker waits as long as its driver."""

    inner: Store
    patience_s: float
    url: str = field(init=False)
    in_vain: bool = False
    """Whether the last wait was for nothing, or was interrupted: nobody waits once more before something succeeds."""

    def __post_init__(self) -> None:
        self.url = self.inner.url

    @property
    def conditional(self) -> bool:
        """Whether `create` is really exclusive."""
        return self.inner.conditional

    @conditional.setter
    def conditional(self, value: bool) -> None:
        self.inner.conditional = value

    def get(self, path: str) -> bytes:
        """Read an object; `FileNotFoundError` where there is none."""
        return self._patiently(lambda: self.inner.get(path))

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Write an object, replacing what was there; with `durable=False` the next `create_all` makes it durable."""
        self._patiently(lambda: self.inner.put(path, data, durable=durable))

    def create(self, path: str, data: bytes) -> bool:
        """Write an object only if there is none; a try whose answer was lost recognises its own bytes."""
        return self._patiently(lambda: self.inner.create(path, data))

    def create_all(self, objects: Mapping[str, bytes]) -> list[bool]:
        """Create several objects after all that was put before; another try recognises its own bytes."""
        return self._patiently(lambda: self.inner.create_all(objects))

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the paths that begin with `prefix`; after a failure it is listed again, and what was told is left."""
        last, wait = "", self._wait()
        while True:
            try:
                for path in self.inner.list(prefix):
                    if path > last:
                        yield path
                        last = path
                return
            except StoreError as error:
                wait.after(error)

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names of the first-level folders that begin with `prefix`."""
        return self._patiently(lambda: self.inner.folders(prefix))

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path."""
        return self._patiently(lambda: self.inner.exists(path))

    def put_file(self, path: str, local: Path) -> None:
        """Write a file's contents as an object."""
        self._patiently(lambda: self.inner.put_file(path, local))

    def child(self, prefix: str) -> PatientStore:
        """The store whose root is a folder of this one."""
        return PatientStore(self.inner.child(prefix), self.patience_s)

    def delete(self, path: str) -> None:
        """Remove an object if it is there."""
        self._patiently(lambda: self.inner.delete(path))

    def _patiently(self, act: Callable[[], T]) -> T:
        wait = self._wait()
        while True:
            try:
                found = act()
            except StoreError as error:
                try:
                    wait.after(error)
                except BaseException:
                    self.in_vain = True
                    raise
            else:
                self.in_vain = False
                return found

    def _wait(self) -> Wait:
        return Wait(0.0 if self.in_vain else self.patience_s)


@dataclass
class Wait:
    """One operation's wait for its store."""

    patience_s: float
    began_s: float = field(default_factory=time.monotonic)
    pause_s: float = FIRST_PAUSE_S

    def after(self, error: StoreError) -> None:
        """Pause after a failure; raise it where the time is over."""
        left_s = self.began_s + self.patience_s - time.monotonic()
        if left_s <= 0.0:
            raise StoreError(f"{error}{self._waited()}") from error
        if self.pause_s == FIRST_PAUSE_S:
            _log.warning("%s; tried again for %.0f s", error, left_s)
        time.sleep(min(self.pause_s, left_s))
        self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)

    def _waited(self) -> str:
        return f" (tried again for {self.patience_s:.0f} s)" if self.patience_s else ""
