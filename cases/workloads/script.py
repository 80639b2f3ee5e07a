"""The workload `script`: an unmodified Python file, run with the experiment's values as its globals.

It is not a sandbox: the file runs with the rights of the task's process. Its identity is its own text; modules that it
imports from its folder are no part of it.
"""

from __future__ import annotations

import builtins
import copy
import difflib
import hashlib
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

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
from joulegrid.cases.workloads.injection import Source
from joulegrid.errors import UsageError
from joulegrid.jsontypes import Json

WINDOW = "main"


class ScriptExitError(RuntimeError):
    """The script called `sys.exit` with a code that says it failed."""


def _identifier(name: str) -> str:
    if not name.isidentifier():
        raise ValueError(f"{name!r} is no Python name")
    return name


def _finite(value: Json) -> Json:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("give a finite number; a result file cannot hold NaN or infinity")
    for part in parts:
        _finite(part)
    return value


Name = Annotated[str, AfterValidator(_identifier)]
Value = Annotated[JsonValue, AfterValidator(_finite)]


class ScriptParams(Section):
    """Which file runs, and what is put into it."""

    path: str
    """The Python file, absolute or relative to the study's folder."""
    globals: dict[Name, Value] = Field(default_factory=dict)
    """Values injected as module globals; they replace the file's own top-level assignments to these names."""
    entrypoint: str = "main"
    """The function that is called and measured; a file without `main` is measured as a whole, as `__main__`."""
    preload: tuple[str, ...] = ()
    """Modules that every task's process has imported before it starts, e.g. `[torch]`; importing them must not open
    a GPU."""
    min_window_seconds: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
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
    input_fields: tuple[str, ...] = ("script.path", "script.entrypoint", "script.globals.*")

    def preload(self, config: ExperimentConfig) -> tuple[str, ...]:
        """Return the modules that the study names."""
        return _params(config).preload

    def inputs(self, config: ExperimentConfig, places: Places) -> dict[str, Input]:
        """Fingerprint the file by its content; `UsageError` where it is missing, no Python, or has no such names."""
        params = _params(config)
        path = places.file(params.path)
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise UsageError(f"script.path: {path} {what}; give a Python file, relative to the study's folder")
        script = _read(path)
        refusal = _refusal(script, params.entrypoint, tuple(params.globals))
        if refusal is not None:
            raise UsageError(refusal)
        return {"script.path": Input(script.fingerprint, str(path.resolve()))}

    def estimate(self, config: ExperimentConfig, places: Places) -> Estimate:
        """Nothing is known of a script before it ran."""
        return Estimate(memory_bytes=None, least_seconds=_params(config).min_window_seconds)

    def run(self, config: ExperimentConfig, inputs: Mapping[str, str], probe: Probe) -> Measurement:
        """Execute the file's top level outside, and its entry point inside the window `main`."""
        params, path = _params(config), Path(inputs["script.path"])
        script, names = _read(path), tuple(params.globals)
        refusal = _refusal(script, params.entrypoint, names)
        if refusal is not None:
            raise LaneCannotError(refusal)
        body = _body(script, params, path)
        returned: Any = None
        with probe.window(WINDOW, min_seconds=params.min_window_seconds) as window:
            for _ in window:
                returned = body()
        if script.source.defines(params.entrypoint):
            probe.idle()  # what the file's top level has loaded is still resident
        metrics = {str(name): value for name, value in returned.items()} if isinstance(returned, Mapping) else {}
        return Measurement(metrics=metrics, work={"call": float(window.mark.repeats)}, headline=WINDOW)


@dataclass(frozen=True, slots=True)
class _Script:
    """A file as it was read."""

    source: Source
    fingerprint: str


def _params(config: ExperimentConfig) -> ScriptParams:
    assert isinstance(config, ScriptConfig)
    return config.script


def _read(path: Path) -> _Script:
    state = path.stat()
    return _parsed(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _parsed(path: Path, size: int, mtime_ns: int) -> _Script:
    """Read and parse a file; size and time are here so that a changed file is read again."""
    text = path.read_bytes()
    try:
        source = Source(text, path.name)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UsageError(f"script.path: {path} is not valid Python: {error}") from error
    return _Script(source, "sha256:" + hashlib.sha256(text).hexdigest())


@lru_cache(maxsize=256)
def _refusal(script: _Script, entrypoint: str, names: tuple[str, ...]) -> str | None:
    """Say which name of the experiment the file does not have."""
    source = script.source
    if entrypoint != "main" and not source.defines(entrypoint):
        near = difflib.get_close_matches(entrypoint, source.functions, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(source.functions) or 'no function'}"
        return f"script.entrypoint: {source.name} defines no function {entrypoint!r}; {hint}"
    refused = source.refusal(names)
    return refused and f"script.globals: {refused}"


@lru_cache(maxsize=256)
def _compiled(script: _Script, names: tuple[str, ...], path: str) -> CodeType:
    """Compile a file for values under these names: 0.3 ms and more, once for all tasks of one process."""
    return script.source.compiled(names, path)


def _module(path: Path, *, as_main: bool) -> ModuleType:
    """A module of its own, importable under its name, with the file's folder first on `sys.path` as Python does.

    A file that has the name of a module already imported (`json.py`, `joulegrid.py`) does not take its place.
    """
    name = "__main__" if as_main else path.stem
    if name != "__main__" and name in sys.modules:
        name = f"joulegrid_script_{name}"
    module = ModuleType(name)
    module.__file__ = str(path)
    module.__dict__["__builtins__"] = builtins
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path)]
    return module


def _body(script: _Script, params: ScriptParams, path: Path) -> Callable[[], Any]:
    """Return what is measured: the entry point where the file has one, else the whole file."""
    code = _compiled(script, tuple(params.globals), str(path))
    has_entry = script.source.defines(params.entrypoint)
    module = _module(path, as_main=not has_entry)
    if not has_entry:
        return lambda: _until_exit(lambda: _execute(code, module, params))
    _until_exit(lambda: _execute(code, module, params))
    entry: Callable[[], Any] | None = module.__dict__.get(params.entrypoint)
    if entry is None:
        raise ScriptExitError(f"{path.name} left before it had defined {params.entrypoint!r}")
    return lambda: _until_exit(entry)


def _execute(code: CodeType, module: ModuleType, params: ScriptParams) -> None:
    module.__dict__.update(copy.deepcopy(params.globals))
    exec(code, module.__dict__)  # noqa: S102 - running the user's file is the workload


def _until_exit(run: Callable[[], Any]) -> Any:
    """Run; `sys.exit()` and `sys.exit(0)` are a normal end, any other code is the script's failure."""
    try:
        return run()
    except SystemExit as leave:
        if leave.code in (None, 0):
            return None
        raise ScriptExitError(f"the script left with sys.exit({leave.code!r})") from leave
