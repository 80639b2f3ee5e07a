"""A candidate: one Python file with `LANGUAGE` and `class OptimizedModel`. Read as text, never run here."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from joulegrid.errors import UsageError

CLASS_NAME = "OptimizedModel"
LANGUAGES = ("triton", "torch")
MOST_BYTES = 512 << 10
Language = Literal["triton", "torch"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate's source and what can be read of it without running it."""

    path: Path
    source: str
    language: Language
    sha256: str
    passthrough: tuple[str, ...] = ()
    """Operators that a Triton candidate leaves to torch by declaration (`PASSTHROUGH = ("mm",)`)."""
    syntax_error: str | None = None
    """Why the file is no Python, with its line."""
    class_name: str = CLASS_NAME
    compile_mode: str | None = None


@dataclass(frozen=True, slots=True)
class ReferenceCode:
    """A case's own module, to be run in a child through the same channel as a candidate."""

    source: str
    class_name: str
    compile_mode: str | None = None
    """Of `torch.compile`; none runs the module as it is. It needs `Limits(processes=…)`."""


Code = Candidate | ReferenceCode


def read_candidate(path: Path) -> Candidate:
    """Read a candidate's file.

    A syntax error is not an error here but the candidate's fault, which its verdict will be (`compile_error`).

    Raises:
        UsageError: for what is no candidate: no such file, no text, too long, no `LANGUAGE`.
    """
    source = _text(path)
    digest = hashlib.sha256(source.encode()).hexdigest()
    try:
        tree = ast.parse(source, str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        return Candidate(path, source, "torch", digest, syntax_error=f"{where}{getattr(error, 'msg', error)}")
    constants = dict(_constants(tree))
    language = constants.get("LANGUAGE")
    if language not in LANGUAGES:
        given = "none was given" if language is None else f"{language!r} was given"
        raise UsageError(f'{path}: LANGUAGE: {given}; write LANGUAGE = "triton" or LANGUAGE = "torch" at the top')
    return Candidate(
        path, source, cast(Language, language), digest, _passthrough(path, constants.get("PASSTHROUGH", ()))
    )


def _text(path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"candidate: {path} is {'a folder' if path.is_dir() else 'missing'}; give a Python file")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UsageError(f"candidate: {path} has {size} bytes; at most {MOST_BYTES} are read")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"candidate: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"candidate: {path} is no UTF-8 text: byte {error.start} is {error.object[error.start]:#x}"
        ) from error
    if not text.strip():
        raise UsageError(f"candidate: {path} is empty; it needs LANGUAGE and a class {CLASS_NAME}")
    return text


def _constants(tree: ast.Module) -> list[tuple[str, object]]:
    """Literals that are assigned to a name at the top level."""
    found = []
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                try:
                    found.append((target.id, ast.literal_eval(node.value)))
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    continue
    return found


def _passthrough(path: Path, given: object) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        raise UsageError(f'{path}: PASSTHROUGH: {given!r} was given; write a tuple of operators: PASSTHROUGH = ("mm",)')
    return tuple(names)
