"""A store in a folder of a local or shared file system: one `joulegrid.cluster.storage.Store`."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

from joulegrid.cluster.storage import StoreError, checked_path, checked_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SYNC_TOGETHER = 8
"""From so many files and folders on they are synced side by side."""
_TEMPORARY = ".tmp-"
# What link() says on file systems without hard links (vfat, exFAT, some FUSE and SMB mounts).
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another place",
    errno.EDQUOT: "the quota is used up; free some space or choose another place",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EACCES: "the right is missing; change the folder's permissions or choose another place",
    errno.EPERM: "the right is missing; change the folder's permissions or choose another place",
    errno.EEXIST: "a file stands where a folder is needed; choose another place",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another place",
    errno.ENAMETOOLONG: "the name is too long for this file system; shorten the study's name or the folder",
    errno.EMFILE: "too many files are open; raise the limit with `ulimit -n`",
    errno.ESTALE: "the network file system lost the folder; mount it again and resume the run",
    errno.EIO: "the disk has a fault; see the system log and choose another place",
}


@contextlib.contextmanager
def _told(action: str, place: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "see that the folder exists and can be written, or choose another")
        raise StoreError(f"could not {action} {place}: {error.strerror or error}; {remedy}") from error


class FolderStore:
    """A store in a folder of a local or shared file system.

    Temporary file, fsync, then rename or `link()`, then fsync of the folder: after a power loss an object is whole
    or absent. Where the file system has no hard links `create` looks before it renames, and `conditional` is false.
    """

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self.root = root.expanduser().absolute()
        self.url = str(self.root)
        self.durable = durable
        self.conditional = True
        self._unsynced: dict[str, None] = {}
        """Files and folders that the next `create_all` syncs."""

    def get(self, path: str) -> bytes:
        """Read an object; `FileNotFoundError` where there is none."""
        place = self.root / checked_path(path)
        try:
            return place.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise FileNotFoundError(errno.ENOENT, "no such object in the store", str(place)) from error
        except OSError as error:
            raise StoreError(f"could not read {place}: {error.strerror}; check its permissions and the disk") from error

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Write an object, replacing what was there; with `durable=False` it is synced by the next `create_all`."""
        if not durable:
            folder, place = self._place(path)
            with _told("write", place):
                os.replace(self._written(folder, data), place)  # noqa: PTH105 - here and below a Path costs more than the call
            self._unsynced |= {place: None, folder: None}
            return
        self._replace(path, lambda file: file.write(data))

    def put_file(self, path: str, local: Path) -> None:
        """Write a file's contents as an object, replacing what was there."""
        with local.open("rb") as source:
            self._replace(path, lambda file: shutil.copyfileobj(source, file, 1 << 20))

    def create(self, path: str, data: bytes) -> bool:
        """Write an object only if there is none; `True` when it now holds `data`."""
        place = self.root / checked_path(path)
        with _told("write", place), self._temporary(place.parent, lambda file: file.write(data)) as temporary:
            created = self._link(str(temporary), str(place), data)
            if created:
                self._sync(place.parent)
        return created is not False

    def create_all(self, objects: Mapping[str, bytes]) -> list[bool]:
        """Create several objects, after all that was put here before is durable.

        All is written, then synced, then linked, then synced: two commits of the file system's journal for however
        many objects, where `put` and `create` need four for a result and its marker.
        """
        with _told("write", self.root), contextlib.ExitStack() as stack:
            staged = []
            for path, data in objects.items():
                folder, place = self._place(path)
                temporary = self._written(folder, data)
                stack.callback(_remove, temporary)
                staged.append((temporary, place, data))
                self._unsynced[temporary] = None
            self._sync_all()
            verdicts = [self._link(*one) for one in staged]
            linked = [place for (_, place, _), new in zip(staged, verdicts, strict=True) if new]
            self._unsynced = dict.fromkeys(place.rpartition("/")[0] for place in linked)
            self._sync_all()
        return [verdict is not False for verdict in verdicts]

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the paths that begin with `prefix`, sorted by code point as S3 does."""
        folder = checked_prefix(prefix).rpartition("/")[0]
        yield from _walk(self.root / folder, f"{folder}/" if folder else "", prefix)

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names of the folders directly below the root that begin with `prefix`, sorted."""
        with _told("list", self.root):
            found = [entry.name for entry in os.scandir(self.root) if entry.is_dir()] if self.root.is_dir() else []
        return sorted(name for name in found if name.startswith(prefix))

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path."""
        place = self.root / checked_path(path)
        with _told("look at", place):
            return place.is_file()

    def child(self, prefix: str) -> FolderStore:
        """The store whose root is a folder of this one."""
        store = FolderStore(self.root / checked_path(prefix), durable=self.durable)
        store.conditional = self.conditional
        return store

    def delete(self, path: str) -> None:
        """Remove an object if it is there."""
        place = self.root / checked_path(path)
        with _told("remove", place):
            place.unlink(missing_ok=True)

    def _replace(self, path: str, fill: Callable[[IO[bytes]], object]) -> None:
        place = self.root / checked_path(path)
        with _told("write", place), self._temporary(place.parent, fill) as temporary:
            temporary.replace(place)
            self._sync(place.parent)

    def _place(self, path: str) -> tuple[str, str]:
        """Where an object lies: its folder and its file."""
        place = f"{self.url}/{checked_path(path)}"
        return place.rpartition("/")[0], place

    def _written(self, folder: str, data: bytes) -> str:
        """Write a temporary file that is yet to be synced."""
        self._unsynced |= dict.fromkeys(_made(folder))
        temporary = f"{folder}/{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            with open(temporary, "xb") as file:  # noqa: PTH123
                file.write(data)
        except BaseException:
            _remove(temporary)
            raise
        return temporary

    def _link(self, temporary: str, place: str, data: bytes) -> bool | None:
        """Link a file to its place: `True` when it was, `None` when the very same bytes were there, else `False`."""
        try:
            os.link(temporary, place)
        except FileExistsError:
            return None if Path(place).read_bytes() == data else False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self.conditional = False
            if Path(place).exists():
                return None if Path(place).read_bytes() == data else False
            Path(temporary).replace(place)
        return True

    @contextlib.contextmanager
    def _temporary(self, folder: Path, fill: Callable[[IO[bytes]], object]) -> Iterator[Path]:
        self._make(folder)
        temporary = folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as file:
                fill(file)
                if self.durable:
                    file.flush()
                    os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        for parent in _made(str(folder)):
            self._sync(parent)

    def _sync_all(self) -> None:
        """Sync what waits for it; many at the same time, because the file system takes these together."""
        waiting = self._unsynced
        if len(waiting) < SYNC_TOGETHER or not self.durable:
            for place in waiting:
                self._sync(place)
        else:
            for _ in _syncers().map(self._sync, waiting):
                pass
        self._unsynced = {}  # not before: what could not be synced waits for the next try

    def _sync(self, place: Path | str) -> None:
        if not self.durable:
            return
        try:
            descriptor = os.open(place, os.O_RDONLY)
        except FileNotFoundError:  # the temporary file of a try that failed
            return
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # FUSE: folders cannot be synced
                raise
        finally:
            os.close(descriptor)


def _made(folder: str) -> tuple[str, ...]:
    """Make a folder and return those in which an entry is new."""
    parent = folder.rpartition("/")[0]
    try:
        os.mkdir(folder)  # noqa: PTH102
    except FileExistsError:
        return ()
    except FileNotFoundError:
        changed = _made(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)  # noqa: PTH102
        return (*changed, parent)
    return (parent or "/",)


def _remove(temporary: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # noqa: PTH108


@cache
def _syncers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(SYNC_TOGETHER, "sync")


def _walk(folder: Path, path: str, prefix: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            # A folder sorts as `name/`, so that walking it in place keeps the whole listing sorted.
            found = sorted((entry.name + "/" * entry.is_dir(follow_symlinks=False)) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StoreError(f"could not list {folder}: {error.strerror}; check its permissions and the disk") from error
    for name in found:
        full = path + name
        if name.endswith("/") and (full.startswith(prefix) or prefix.startswith(full)):
            yield from _walk(folder / name, full, prefix)
        elif not name.endswith("/") and full.startswith(prefix) and not name.startswith(_TEMPORARY):
            yield full
