"""The store: where results, ledger and archives lie. A folder or an S3 bucket behind one small protocol.

A store keeps whole objects under relative paths. It is not a file system: no append, no rename, no partial read.
Two operations carry everything that must survive a crash: `put` replaces an object at once or not at all, and
`create` lets the first writer win.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from joulegrid.errors import JoulegridError, PreFlightError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class StoreError(JoulegridError):
    """The store refused a read or a write; the message says which path, why, and what to do."""

    exit_code = 1


class Store(Protocol):
    """Whole objects under relative paths such as `commit/3f/3f02….json`. Safe to pickle and to use from threads.

    A path with `..`, with an empty part or from the root is a `ValueError`; what the disk or the service refuses is
    a `StoreError`.
    """

    url: str
    conditional: bool
    """Whether `create` is really exclusive. Assumed until `probe` has asked the store."""

    def get(self, path: str) -> bytes:
        """Read an object; `FileNotFoundError` where there is none."""
        ...

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Write an object, replacing what was there: a reader sees the old bytes or the new, never a part.

        What is put with `durable=False` may be torn by a power loss until the next `create_all` of the same store.
        """
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Write an object only if there is none, and say whether it now holds `data`.

        `True` also when the very same bytes were there: that is how a write whose answer was lost recognises itself.
        """
        ...

    def create_all(self, objects: Mapping[str, bytes]) -> list[bool]:
        """Create several objects, after all that was put here before is durable; say of each what `create` says."""
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the paths that begin with `prefix`, sorted, relative to the store."""
        ...

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names of the first-level folders that begin with `prefix`, sorted; what lies in them is not listed."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path."""
        ...

    def put_file(self, path: str, local: Path) -> None:
        """Write a file's contents as an object, replacing what was there."""
        ...

    def child(self, prefix: str) -> Store:
        """The store whose root is a folder of this one."""
        ...

    def delete(self, path: str) -> None:
        """Remove an object if it is there. For probes only: nothing committed is ever removed."""
        ...


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """What `probe` found out about a store that can be written."""

    url: str
    conditional: bool
    """Whether a second `create` of one path was refused."""

    @property
    def note(self) -> str:
        """One sentence for a run's record or a person."""
        if self.conditional:
            return "conditional writes are honoured"
        return "conditional writes are ignored here: the run is unfenced, best effort; start one driver at a time"


def open_store(url: str | Path, *, durable: bool = True) -> Store:
    """Open `s3://bucket/prefix`, or a folder, which is made at the first write.

    `durable=False` leaves out fsync on a folder; only for tests. `UsageError` on any other scheme.
    """
    text = str(url)
    scheme, separator, rest = text.partition("://")
    if scheme == "s3" and separator:
        from joulegrid.cluster.s3 import S3Store  # boto3 stays unloaded where results lie in a folder

        return S3Store.from_location(rest)
    if separator or not text or text.startswith("s3:"):
        raise UsageError(f"cannot open {text!r} as a store; give a folder or s3://BUCKET/PREFIX (as text)")
    from joulegrid.cluster.folder import FolderStore  # it imports this module

    return FolderStore(Path(text), durable=durable)


def probe(store: Store) -> StoreCheck:
    """Write twice under a random name and see whether the second writer is refused; sets `store.conditional`.

    `PreFlightError` where the store cannot be written or does not give back what was written.
    """
    path = f".probe-{secrets.token_hex(8)}"
    store.conditional = True
    try:
        store.create(path, b"first")
        refused = not store.create(path, b"second")
        kept = store.get(path)
    except (StoreError, FileNotFoundError) as error:
        raise PreFlightError(f"the store {store.url} cannot be used: {error}") from error
    finally:
        with contextlib.suppress(StoreError):  # a writer without the right to delete leaves six bytes behind
            store.delete(path)
    store.conditional = store.conditional and refused
    if store.conditional and kept != b"first":
        raise PreFlightError(f"the store {store.url} gave back {kept!r} where b'first' was written; choose another")
    return StoreCheck(store.url, store.conditional)


def checked_path(path: str) -> str:
    """Return the path if it stays inside a store and is spelled the one way; else `ValueError`."""
    if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"{path!r} is no path inside a store; give parts joined by '/', none empty, '.' or '..'")
    return path


def checked_prefix(prefix: str) -> str:
    """Return the prefix if it stays inside a store; empty, or with an open end, it may be. Else `ValueError`."""
    if prefix:
        checked_path(prefix.removesuffix("/"))
    return prefix
