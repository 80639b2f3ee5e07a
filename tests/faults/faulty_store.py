"""A store that fails on order: it wraps a real one, counts what a driver asks of it, and strikes after so many.

Nothing is pretended: what is passed on is done by the real store. Pickled to a worker it is the real store again.
"""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from joulegrid.cluster.storage import Store, StoreError

T = TypeVar("T")
Kind = Literal["none", "kill", "stop", "error", "lost", "stall"]


@dataclass
class Fault:
    """What happens to which of a driver's operations."""

    kind: Kind = "none"
    """`kill` and `stop` send SIGKILL and SIGSTOP to this process; `error` refuses; `lost` does it and then refuses;
    `stall` waits first."""
    after: int = 0
    """The first operation that is struck, counted from 0."""
    count: int = 1
    """How many in a row are struck; kills strike once."""
    late: bool = False
    """Kill or stop after the operation instead of before it."""
    stall_s: float = 0.0
    path: str | None = None
    """Count only operations whose path begins so."""
    seen: int = 0
    trace: str | None = None
    """A file that gets a line for each counted operation."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def strikes(self, name: str, path: str) -> bool:
        """Count an operation; say whether it is struck."""
        if self.path is not None and not path.startswith(self.path):
            return False
        with self._lock:
            number, self.seen = self.seen, self.seen + 1
            if self.trace is not None:
                with open(self.trace, "a") as file:
                    file.write(f"{number} {name} {path}\n")
        return self.kind != "none" and self.after <= number < self.after + self.count


class FaultyStore:
    """A `joulegrid.cluster.storage.Store` whose operations may be struck by a fault."""

    def __init__(self, inner: Store, fault: Fault) -> None:
        self.inner, self.fault = inner, fault
        self.url = inner.url

    def __reduce__(self) -> tuple[Callable[[Store], Store], tuple[Store]]:
        return copy.copy, (self.inner,)

    @property
    def conditional(self) -> bool:
        return self.inner.conditional

    @conditional.setter
    def conditional(self, value: bool) -> None:
        self.inner.conditional = value

    def get(self, path: str) -> bytes:
        return self._do("get", path, lambda: self.inner.get(path))

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        self._do("put", path, lambda: self.inner.put(path, data, durable=durable))

    def create(self, path: str, data: bytes) -> bool:
        return self._do("create", path, lambda: self.inner.create(path, data))

    def create_all(self, objects: Mapping[str, bytes]) -> list[bool]:
        return self._do("create", next(iter(objects)), lambda: self.inner.create_all(objects))

    def list(self, prefix: str = "") -> Iterator[str]:
        return self._do("list", prefix, lambda: iter([*self.inner.list(prefix)]))

    def folders(self, prefix: str = "") -> Sequence[str]:
        return self._do("folders", prefix, lambda: self.inner.folders(prefix))

    def exists(self, path: str) -> bool:
        return self._do("exists", path, lambda: self.inner.exists(path))

    def put_file(self, path: str, local: Path) -> None:
        self._do("put_file", path, lambda: self.inner.put_file(path, local))

    def delete(self, path: str) -> None:
        self._do("delete", path, lambda: self.inner.delete(path))

    def child(self, prefix: str) -> FaultyStore:
        return FaultyStore(self.inner.child(prefix), self.fault)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)  # what only one kind of store has, such as a folder's `root`

    def _do(self, name: str, path: str, act: Callable[[], T]) -> T:
        if not self.fault.strikes(name, path):
            return act()
        fault = self.fault
        if fault.kind in ("kill", "stop"):
            return _struck(fault, act)
        if fault.kind == "stall":
            time.sleep(fault.stall_s)
            return act()
        if fault.kind == "lost":
            act()
        raise StoreError(f"could not {name} {self.url}/{path}: a fault of this store; see what it is and go on")


def _struck(fault: Fault, act: Callable[[], T]) -> T:
    blow = signal.SIGKILL if fault.kind == "kill" else signal.SIGSTOP
    if not fault.late:
        os.kill(os.getpid(), blow)
        return act()
    done = act()
    os.kill(os.getpid(), blow)
    return done
