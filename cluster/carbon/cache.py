"""What services said before: one small file an hour below the user's cache folder, written at once or not at all.

Several processes may share it: a reader sees a whole file or none, and the last writer wins.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from joulegrid.cluster.carbon.intensity import FactorType, Signal
from joulegrid.cluster.carbon.services import Hourly


@dataclass(frozen=True, slots=True)
class Key:
    """Whose value it is, of what."""

    provider: str
    zone: str
    signal: Signal
    factor_type: FactorType

    def file(self, folder: Path, hour: datetime) -> Path:
        """Return where the value of an hour lies; whatever a zone is called, inside `folder`."""
        zone = quote(self.zone, safe="").replace(".", "%2E")
        return folder / self.provider / zone / f"{self.signal}-{self.factor_type}" / f"{hour:%Y-%m-%dT%H}.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """A value, and when it was fetched (seconds since 1970)."""

    hourly: Hourly
    fetched_s: float


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/joulegrid/carbon`, else the same below `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "joulegrid" / "carbon"


@dataclass(frozen=True, slots=True)
class Cache:
    """The values of one folder. A folder that cannot be written, or a damaged file, is as if nothing were there."""

    folder: Path = field(default_factory=cache_folder)

    def get(self, key: Key, hour: datetime) -> Kept | None:
        """Return what is kept of an hour."""
        try:
            told = json.loads(key.file(self.folder, hour).read_bytes())
            fetched_s, value = float(told.pop("fetched_s")), float(told.pop("g_per_kwh"))
            return Kept(Hourly(value, **told), fetched_s) if value >= 0 else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def put(self, key: Key, hour: datetime, kept: Kept) -> None:
        """Keep a value; one that is final is never replaced."""
        before = self.get(key, hour)
        if before is not None and before.hourly.is_final:
            return
        with contextlib.suppress(OSError):
            _write(key.file(self.folder, hour), json.dumps({**asdict(kept.hourly), "fetched_s": kept.fetched_s}))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
