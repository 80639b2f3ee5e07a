"""Settings from a `.env` file of the repository, for what the shell has not set. Secrets in it go nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from joulegrid.errors import UsageError

NAMED = "JOULEGRID_ENV_FILE"
"""Variable that names another file; empty, no file is read."""


def read_env_file(start: Path | None = None) -> Path | None:
    """Put the variables of the repository's `.env` into the environment; return the file, `None` where there is none.

    Looked for from `start` (the current folder) up to the folder that holds `.git`; outside of a repository in that
    folder alone. A variable that the shell has set, even to nothing, is left as it is. `UsageError` where the file
    cannot be read, or the one named in `JOULEGRID_ENV_FILE` does not exist.
    """
    file = _named_file() if NAMED in os.environ else _found(start or Path.cwd())
    if file is None:
        return None
    from dotenv import dotenv_values  # 40 ms that are not paid without such a file

    try:
        values = dotenv_values(file, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}; write lines NAME=VALUE in UTF-8") from error
    for name, value in values.items():
        if value is not None:
            os.environ.setdefault(name, value)
    return file


def _named_file() -> Path | None:
    given = os.environ[NAMED]
    if not given:
        return None
    file = Path(given).expanduser()
    if not file.is_file():
        raise UsageError(f"{NAMED}: {given!r} is no file; name one with lines NAME=VALUE, or leave the variable empty")
    return file


def _found(start: Path) -> Path | None:
    folders = [start.absolute(), *start.absolute().parents]
    ends = [place for place, folder in enumerate(folders) if (folder / ".git").exists()]
    reached = folders[: ends[0] + 1] if ends else folders[:1]
    return next((folder / ".env" for folder in reached if (folder / ".env").is_file()), None)
