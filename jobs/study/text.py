"""Text that cannot be written: a lone surrogate is a character of Python's that no UTF-8 file holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from joulegrid.errors import UsageError

AS_JSON_ESCAPES = "backslashreplace"
"""How JSON is encoded: what cannot be written becomes the escape that JSON has for it, and is read back as it was."""


def refuse_unwritable(values: Mapping[str, Any]) -> None:
    """Raise `UsageError` with the dotted path of every text among values that no file can hold."""
    problems = [
        f"{path}: {told!r} has half of a character (a lone surrogate); no file can hold it"
        for path, told in unwritable(values)
    ]
    if problems:
        raise UsageError("\n".join(problems))


def unwritable(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted path and the text of everything that cannot be written, names included."""
    if isinstance(value, str):
        if not _is_writable(value):
            yield path, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            shown = ascii(name)[1:-1] if isinstance(name, str) else str(name)
            place = f"{path}.{shown}" if path else shown
            if isinstance(name, str) and not _is_writable(name):
                yield place, name
            yield from unwritable(inner, place)
    elif isinstance(value, list | tuple | set | frozenset):
        for number, inner in enumerate(value):
            yield from unwritable(inner, f"{path}[{number}]")


def _is_writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
