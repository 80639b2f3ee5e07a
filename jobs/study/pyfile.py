"""Studies that are Python files: `CONFIG`, or a generator `config_gen()`, or a `searcher()`, beside `STUDY`.

The file runs in the driver, when a study is planned or run, with its folder first on `sys.path`; what it prints goes to
stderr. It never runs when a report is made. What goes wrong inside it is told with its line, as a `UsageError`.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from joulegrid.errors import JoulegridError, UsageError
from joulegrid.jobs.search.search import DeafSearcher, Searcher, SearcherSource, StatefulSearcher, Told, Wait
from joulegrid.jobs.study.generator import GeneratorSearcher, endless_line, listens
from joulegrid.jobs.study.study import StudyConfig
from joulegrid.jsontypes import Json

KINDS = ("CONFIG", "config_gen", "searcher")


@dataclass(frozen=True)
class StudyFile:
    """A Python file that was run."""

    path: Path
    text: str
    module: ModuleType

    @property
    def kind(self) -> str:
        """Which of `CONFIG`, `config_gen` and `searcher` the file defines; `UsageError` unless it is exactly one."""
        found = [name for name in KINDS if hasattr(self.module, name)]
        if len(found) == 1:
            return found[0]
        given = " and ".join(found) if found else "none of them"
        raise UsageError(
            f"{self.path}: a study in Python defines one of CONFIG (a mapping or StudyConfig), config_gen() (a "
            f"generator of experiments) and searcher(); it defines {given}"
        )

    def mapping(self) -> dict[str, Any]:
        """Return what stands for the YAML: `CONFIG`, else `STUDY`, else nothing."""
        name = "CONFIG" if self.kind == "CONFIG" else "STUDY"
        given = getattr(self.module, name, {})
        if isinstance(given, StudyConfig):
            given = given.model_dump(mode="json", exclude_unset=True)
        if not isinstance(given, Mapping):
            raise UsageError(f"{self.path}: {name} is {given!r}; give a mapping of a study's fields, or a StudyConfig")
        return {str(key): value for key, value in given.items()}

    def source(self) -> SearcherSource | None:
        """Return what proposes the experiments; `None` where `CONFIG` is a grid or a search of its own."""
        if self.kind == "CONFIG":
            return None
        function = getattr(self.module, self.kind)
        if not callable(function):
            raise UsageError(f"{self.path}: {self.kind} is {function!r}; write it as a function without arguments")
        name = f"{self.path.name}: {self.kind}"
        make = self._generator(function, name) if self.kind == "config_gen" else self._searcher(function)
        return SearcherSource(name, self.fingerprint, make)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the file without comments, layout and `STUDY`, whose fields are hashed by their values."""
        kept = [node for node in self._tree.body if not _assigns(node, "STUDY")]
        text = ast.unparse(ast.Module(kept, type_ignores=[]))
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]

    def first_workload(self) -> str | None:
        """Return the workload that the generator's first experiment names; `None` where it names none."""
        if self.kind != "config_gen":
            return None
        source = self.source()
        assert source is not None
        first = source.make().ask()
        named = first.get("workload") if isinstance(first, Mapping) else None
        return named if isinstance(named, str) else None

    def refuse_endless(self) -> None:
        """`UsageError` where it can be seen that `config_gen` never ends; called where no limit is set."""
        if self.kind != "config_gen":
            return
        own = [n for n in self._tree.body if isinstance(n, ast.FunctionDef) and n.name == "config_gen"]
        lines = [line for function in own if (line := endless_line(function)) is not None]
        if lines:
            raise UsageError(
                f"{self.path}, line {lines[0]}: config_gen never ends; say how many experiments are run: "
                'STUDY = {"execution": {"max_experiments": 100}}'
            )

    @cached_property
    def _tree(self) -> ast.Module:
        return ast.parse(self.text)

    def _generator(self, function: Callable[[], Any], name: str) -> Callable[[], Searcher]:
        def make() -> Searcher:
            inner = GeneratorSearcher(lambda: iter(function()), name, deaf=not listens(self._tree))
            return Guarded(inner, self.path)

        return make

    def _searcher(self, function: Callable[[], Any]) -> Callable[[], Searcher]:
        def make() -> Searcher:
            with guarded(self.path):
                inner = function()
            if not callable(getattr(inner, "ask", None)) or not callable(getattr(inner, "tell", None)):
                raise UsageError(f"{self.path}: searcher() returned {inner!r}; a searcher has the methods ask and tell")
            return Guarded(inner, self.path)

        return make


class Guarded:
    """A searcher of a user's file: its faults are told with their line, and its prints go to stderr."""

    def __init__(self, inner: Searcher, path: Path) -> None:
        self._inner = inner
        self._path = path
        self.deaf = isinstance(inner, DeafSearcher) and inner.deaf

    def ask(self) -> Mapping[str, Json] | Wait | None:
        """Ask the file's searcher."""
        with guarded(self._path):
            return self._inner.ask()

    def tell(self, told: Told) -> None:
        """Tell the file's searcher."""
        with guarded(self._path):
            self._inner.tell(told)

    def state(self) -> Json:
        """Return the state of the file's searcher, where it has one."""
        with guarded(self._path):
            return self._inner.state() if isinstance(self._inner, StatefulSearcher) else None


def run_file(path: Path) -> StudyFile:
    """Execute a study's file; `UsageError` with file, line and the exception's text where that fails."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"cannot read {path}: {reason}") from error
    spec = spec_from_file_location(f"joulegrid_study_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses and pickle look their module up
    with guarded(path):
        spec.loader.exec_module(module)
    return StudyFile(path, text, module)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Run code of a user's file: its folder first on `sys.path`, stdout to stderr, faults as one message."""
    folder, before, quiet = str(path.parent), list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    try:
        with redirect_stdout(sys.stderr):
            yield
    except JoulegridError:
        raise
    except (Exception, SystemExit) as error:  # the edge of the user's code
        raise UsageError(_fault(path, error)) from error
    finally:
        sys.path[:] = before
        sys.dont_write_bytecode = quiet


def _fault(path: Path, error: BaseException) -> str:
    """Say where in the user's file an exception came up, and what it said."""
    if isinstance(error, SyntaxError):
        return f"{error.filename or path}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.lineno for frame in frames if frame.filename == str(path)]
    where = f"{path}, line {own[-1]}" if own else str(path)
    inner = frames[-1] if frames and own and frames[-1].filename != str(path) else None
    beyond = f" (raised in {inner.filename}, line {inner.lineno})" if inner else ""
    said = str(error) if not isinstance(error, SystemExit) else f"it called sys.exit({error.code!r})"
    return f"{where}: {type(error).__name__}: {said}{beyond}"


def _assigns(node: ast.stmt, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)
