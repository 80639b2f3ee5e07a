"""The archives of a store: put one there, list them, take one down. Knows no case and no torch."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from hashlib import sha256
from typing import TYPE_CHECKING

from pydantic import ValidationError

from joulegrid.cases.judged import JudgedPoint
from joulegrid.errors import UsageError
from joulegrid.jobs.archive.record import INDEX, ROOT, Archived, archive_name, point_folder
from joulegrid.version import __version__

if TYPE_CHECKING:
    from joulegrid.cluster.storage import Store

CLAIM = "claim"
MAKERS = "a study of kernels makes them when it ends, `joulegrid kernel time` and `joulegrid archive keep RUN` at once"
_SHOWN = 5
_NAMES_TRIED = 100


@dataclass(frozen=True, slots=True)
class PointFiles:
    """A point and the files that belong to it, by their path below its folder."""

    point: JudgedPoint
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Origin:
    """The run that an archive is made from."""

    run: str
    """Folder or URL of the run."""
    judged_at: datetime
    """When the last of its points was judged: part of the archive's name."""
    attempts: tuple[str, ...]
    """Folders of the results inside the run."""

    @property
    def claim(self) -> bytes:
        """What claims an archive's name: of the same results the same, wherever the run lies."""
        said = json.dumps([self.run.rstrip("/").rpartition("/")[2], *sorted(self.attempts)])
        return json.dumps({"claimed_by": sha256(said.encode()).hexdigest()}).encode()


@dataclass(frozen=True, slots=True)
class Contents:
    """All that goes into an archive."""

    experiment: str
    case: str
    fingerprint: str
    case_files: Mapping[str, bytes]
    candidate: str
    candidate_source: bytes
    language: str
    environment: bytes
    points: tuple[PointFiles, ...]
    origin: Origin | None = None
    """`None` for what the command line judged."""

    def with_files(self, more: Mapping[str, bytes]) -> Contents:
        """Return the same with further files of the first point."""
        first, *others = self.points
        return replace(self, points=(PointFiles(first.point, {**first.files, **more}), *others))

    def files(self) -> dict[str, bytes]:
        """Return path → bytes of everything but the index."""
        found = {f"case/{path}": data for path, data in self.case_files.items()}
        found |= {"candidate.py": self.candidate_source, "environment.json": self.environment}
        for one in self.points:
            found |= {f"{point_folder(one.point)}/{path}": data for path, data in one.files.items()}
        return found


@dataclass(frozen=True, slots=True)
class Opened:
    """An archive that was taken down: its record, its store, and what of it is damaged."""

    record: Archived
    store: Store
    """Its own folder."""
    damaged: list[str] = field(default_factory=list)
    """Files that are missing or have other bytes than were archived."""

    def read(self, path: str) -> bytes:
        """Return one file; `UsageError` where it is missing."""
        try:
            return self.store.get(path)
        except FileNotFoundError as error:
            raise UsageError(f"{self.record.name}: {path} is missing; the archive is damaged") from error


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A folder that should be an archive and cannot be read."""

    name: str
    reason: str


def keep(store: Store, contents: Contents, now: datetime | None = None) -> Archived:
    """Write an archive and return its record; nothing that is there is overwritten.

    The name is claimed first, so that two writers of one second do not mix; the index comes last. What was made of the
    same results of a run before is finished where it was cut short, and else returned as it is.
    """
    origin = contents.origin
    now = origin.judged_at if origin else now or datetime.now(UTC)
    claim = origin.claim if origin else json.dumps({"claimed_by": secrets.token_hex(8)}).encode()
    name = _claimed(store, archive_name(now, contents.experiment, [one.point for one in contents.points]), claim)
    place, files = store.child(f"{ROOT}/{name}"), contents.files()
    if place.exists(INDEX):
        return _record_at(store, name)
    for path, data in files.items():
        place.put(path, data, durable=False)
    place.create_all({INDEX: (_record(name, now, contents, files).model_dump_json(indent=2) + "\n").encode()})
    return _record_at(store, name)


def _record(name: str, now: datetime, contents: Contents, files: Mapping[str, bytes]) -> Archived:
    return Archived(
        name=name,
        created_at=now.isoformat(timespec="seconds"),
        joulegrid=__version__,
        experiment=contents.experiment,
        run=contents.origin.run if contents.origin else None,
        case=contents.case,
        fingerprint=contents.fingerprint,
        candidate=contents.candidate,
        candidate_sha256=sha256(contents.candidate_source).hexdigest(),
        language=contents.language,
        points=[one.point for one in contents.points],
        files={path: sha256(data).hexdigest() for path, data in sorted(files.items())},
    )


def archives(store: Store) -> Iterator[Archived | Unreadable]:
    """Yield the archives of a store by name, oldest first; one that was never finished is told as unreadable."""
    for name in store.child(ROOT).folders():
        yield _read_record(store, name)


def take_down(store: Store, name: str) -> Opened:
    """Return one archive with every file's hash compared; `UsageError` where the name means none, or several.

    `name` is the folder's name, a part of it that only one has, or `latest`: the newest that was finished.
    """
    found = _named(store, name)
    record, place = _record_at(store, found), store.child(f"{ROOT}/{found}")
    return Opened(record, place, [path for path, digest in record.files.items() if not _is_sound(place, path, digest)])


def _record_at(store: Store, name: str) -> Archived:
    record = _read_record(store, name)
    if isinstance(record, Unreadable):
        raise UsageError(f"archive: {name}: {record.reason}; `joulegrid archive list` shows those that can be read")
    return record


def _read_record(store: Store, name: str) -> Archived | Unreadable:
    try:
        return Archived.model_validate_json(store.get(f"{ROOT}/{name}/{INDEX}"))
    except FileNotFoundError:
        return Unreadable(name, "it was never finished: archive.json is missing")
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or INDEX
        return Unreadable(name, f"archive.json is not of this version's form: {place}: {first['msg']}")


def _is_sound(place: Store, path: str, digest: str) -> bool:
    try:
        return sha256(place.get(path)).hexdigest() == digest
    except (FileNotFoundError, ValueError):  # a path that leaves the archive was never written by us
        return False


def _named(store: Store, name: str) -> str:
    names = list(store.child(ROOT).folders())
    if not names:
        raise UsageError(f"archive: {store.url} holds no archive; {MAKERS}")
    if name in names:
        return name
    if name == "latest":
        finished = (one for one in reversed(names) if store.exists(f"{ROOT}/{one}/{INDEX}"))
        return next(finished, names[-1])
    fitting = [one for one in names if name and name in one]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        shown = ", ".join(fitting[-_SHOWN:])
        raise UsageError(f"archive: {name!r} fits {len(fitting)} archives; give more of the name: {shown}")
    near = get_close_matches(name, names, n=3, cutoff=0.3) or names[-_SHOWN:]
    raise UsageError(f"archive: {name!r} was not found in {store.url}; there are {', '.join(near)}, …; or say `latest`")


def _claimed(store: Store, name: str, claim: bytes) -> str:
    """Claim a name, or the next free one of it: `…-2`, `…-3`; one that bears this very claim is ours already."""
    for number in range(1, _NAMES_TRIED):
        tried = name if number == 1 else f"{name}-{number}"
        path = f"{ROOT}/{tried}/{CLAIM}"
        if store.create(path, claim) or store.get(path) == claim:
            return tried
    raise UsageError(f"archive: {name} and {_NAMES_TRIED} names like it are taken; what writes so many a second?")
