"""The workload `script`: an unmodified Python file, run with the experiment's values as its globals.

It is not a sandbox: the file runs with the rights of the task's process.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import Field, model_validator

from joulegrid.cases.contract import (
    Estimate,
    ExperimentConfig,
    Ignored,
    Input,
    LaneCannotError,
    Measurement,
    Places,
    Probe,
    Rule,
    Section,
)
from joulegrid.errors import UsageError
from joulegrid.jsontypes import Json

WINDOW = "main"


class ScriptParams(Section):
    """Which file runs, and what is put into it."""

    path: str
    """The Python file, absolute or relative to the study's folder."""
    globals: dict[str, Json] = Field(default_factory=dict)
    """Values injected as module globals; they replace the file's own top-level assignments to these names."""
    entrypoint: str = "main"
    """The function that is called and measured; a file without it is measured as a whole, as `__main__`."""
    min_window_seconds: float = Field(default=0.0, ge=0.0)
    """Call the entry point again until the window is this long; 0 calls it once."""

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class ScriptConfig(ExperimentConfig):
    """An experiment of the workload `script`."""

    workload: Literal["script"] = "script"
    script: ScriptParams
    """The file and its values; a plain string is the file."""


class Script:
    """Run a Python file; the mapping that its entry point returns becomes the metrics."""

    name = "script"
    revision = 1
    Config: type[ExperimentConfig] = ScriptConfig
    rules: tuple[Rule, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    preload: tuple[str, ...] = ()
    input_fields: tuple[str, ...] = ("script.path",)

    def inputs(self, config: ExperimentConfig, places: Places) -> dict[str, Input]:
        """Fingerprint the file by its content; `UsageError` where it is missing or no Python."""
        path = places.file(_params(config).path)
        if not path.is_file():
            raise UsageError(f"script.path: no file at {path}; give a path relative to the study's folder")
        source = path.read_bytes()
        _parse(source, path)
        return {"script.path": Input("sha256:" + hashlib.sha256(source).hexdigest(), str(path.resolve()))}

    def estimate(self, config: ExperimentConfig, places: Places) -> Estimate:
        """Nothing is known of a script before it ran."""
        return Estimate(memory_bytes=None, least_seconds=_params(config).min_window_seconds)

    def run(self, config: ExperimentConfig, inputs: Mapping[str, str], probe: Probe) -> Measurement:
        """Execute the file's top level outside, and its entry point inside the window `main`."""
        params = _params(config)
        path = Path(inputs["script.path"])
        tree = _parse(path.read_bytes(), path)
        _refuse_unknown_globals(tree, params.globals, path)
        module = _module(path, as_main=not _defines(tree, params.entrypoint))
        body = _body(tree, params, module, path)
        returned: Any = None
        with probe.window(WINDOW, min_seconds=params.min_window_seconds) as window:
            for _ in window:
                returned = body()
        metrics = {str(name): value for name, value in returned.items()} if isinstance(returned, Mapping) else {}
        return Measurement(metrics=metrics, work={"call": float(window.mark.repeats)}, headline=WINDOW)


def _params(config: ExperimentConfig) -> ScriptParams:
    assert isinstance(config, ScriptConfig)
    return config.script


def _parse(source: bytes, path: Path) -> ast.Module:
    try:
        return ast.parse(source, filename=str(path))
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"script.path: {path} is not valid Python: {error}") from error


def _defines(tree: ast.Module, function: str) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == function for node in tree.body)


def _module(path: Path, *, as_main: bool) -> ModuleType:
    """A module of its own, importable under its name, with the file's folder first on `sys.path` as Python does."""
    module = ModuleType("__main__" if as_main else path.stem)
    module.__file__ = str(path)
    module.__dict__["__builtins__"] = builtins
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path)]
    return module


def _body(tree: ast.Module, params: ScriptParams, module: ModuleType, path: Path) -> Callable[[], Any]:
    """Return what is measured: the entry point where the file has one, else the whole file."""
    code = compile(_Injection(params.globals).visit(tree), str(path), "exec", dont_inherit=True)
    module.__dict__.update(params.globals)
    if module.__name__ == "__main__":
        return lambda: exec(code, module.__dict__)  # noqa: S102 - running the user's file is the workload
    exec(code, module.__dict__)  # noqa: S102
    entry: Callable[[], Any] = module.__dict__[params.entrypoint]
    return entry


class _Injection(ast.NodeTransformer):
    """Drop top-level assignments to injected names, so that what is computed from them sees the injected value."""

    def __init__(self, injected: Mapping[str, Json]) -> None:
        self._names = set(injected)

    def visit_Module(self, node: ast.Module) -> ast.Module:
        node.body = [statement for statement in node.body if not self._assigns(statement)] or [ast.Pass()]
        return ast.fix_missing_locations(node)

    def _assigns(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.AnnAssign):
            return isinstance(statement.target, ast.Name) and statement.target.id in self._names
        if not isinstance(statement, ast.Assign):
            return False
        return all(isinstance(target, ast.Name) and target.id in self._names for target in statement.targets)


def _refuse_unknown_globals(tree: ast.Module, injected: Mapping[str, Json], path: Path) -> None:
    known = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for name in injected:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise LaneCannotError(f"script.globals: {path.name} never uses the name {name!r}{hint}")
