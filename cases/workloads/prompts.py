"""Prompts from a file: read, checked, fingerprinted. Not tokenised here; torch-free."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from joulegrid.cases.contract import Input, Places
from joulegrid.errors import UsageError

BUNDLED = Path(__file__).resolve().parents[1] / "prompts" / "facts.jsonl"
"""256 prompts of ragged lengths that come with Joulegrid."""


def resolve_prompts(name: str | None, needed: int, places: Places) -> Input:
    """Return fingerprint (sha256 of the file) and location of a prompt file that holds at least `needed` prompts."""
    path = prompt_file(name, places)
    if not path.is_file():
        raise UsageError(
            f"pytorch.prompts: {path} is not a file; name a .jsonl file with a `prompt` or `text` in each line, a text"
            " file with a prompt a line, or leave it out for the bundled prompts"
        )
    status = path.stat()
    digest, count = _summary(path, status.st_size, status.st_mtime_ns)
    if count < needed:
        raise UsageError(
            f"pytorch.prompts: {path.name} holds {count} prompts and the experiment asks for {needed} (n_prompts,"
            " else batch_size); ask for fewer or name a longer file"
        )
    return Input(fingerprint=f"sha256:{digest}", location=str(path))


def prompt_file(name: str | None, places: Places) -> Path:
    """Return the absolute path that a study means; the bundled set for `None`."""
    return BUNDLED if name is None else places.file(name).resolve()


@lru_cache(maxsize=64)
def _summary(path: Path, size: int, mtime_ns: int) -> tuple[str, int]:
    """Hash and count; size and time are here so that a changed file is read again."""
    return hashlib.sha256(path.read_bytes()).hexdigest(), len(read_prompts(path))


def read_prompts(path: Path, count: int | None = None) -> list[str]:
    """Return the first `count` prompts of a file, all for `None`; `UsageError` names the line that is wrong.

    `.jsonl`: an object a line with a non-empty text under `prompt` or `text`; other endings: each non-empty line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"pytorch.prompts: {path} is not UTF-8: {error}") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()][:count]
    if path.suffix != ".jsonl":
        return [line for _, line in numbered]
    return [_prompt(line, f"{path}:{number}") for number, line in numbered]


def _prompt(line: str, place: str) -> str:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UsageError(f"pytorch.prompts: {place} is not JSON: {error}") from error
    text = (row.get("prompt") or row.get("text")) if isinstance(row, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"pytorch.prompts: {place} has no text under `prompt` or `text`")
    return text
