"""`manifest.yaml` of a case that is a module, and the problem that a judge makes of it. Errors name the field."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from joulegrid.cases.manifest_fields import (
    FORMS,
    HiddenSection,
    InputsSection,
    ModuleManifest,
    ModuleSection,
    RangeSection,
    listed,
)
from joulegrid.cases.tree import argument_tree, tensor_specs
from joulegrid.errors import UsageError
from joulegrid.kernels.distributions import DISTRIBUTIONS
from joulegrid.kernels.formula import names, whole
from joulegrid.kernels.problem import (
    Arguments,
    HiddenShapes,
    Output,
    Problem,
    Range,
    Shape,
    TensorSpec,
    Weights,
)

KINDS = ("model", "module", "script", "brief")
_SAID = {"missing": "missing; it has no default, so give a value", "extra_forbidden": "unknown field"}
_SHOWN = 60


def read_manifest(folder: Path) -> ModuleManifest:
    """Read a case's manifest; `UsageError` names the file, the field, what was given and what is allowed."""
    path = folder / "manifest.yaml"
    if not path.is_file():
        raise UsageError(f"{path} is missing; `joulegrid case new NAME` writes one to be edited")
    values = _yaml(path)
    kind = values.get("kind")
    if kind != "module":
        allowed = f"one of {', '.join(KINDS)}" if kind not in KINDS else "`module` where a kernel is to be judged"
        raise UsageError(f"{path}: kind: {kind!r} was given; allowed is {allowed}")
    try:
        manifest = ModuleManifest.model_validate(values)
    except ValidationError as error:
        raise UsageError("\n".join(_complaint(path, problem) for problem in error.errors())) from error
    if manifest.name != folder.name:
        raise UsageError(f"{path}: name: {manifest.name!r} was given; it must be the folder's name, {folder.name!r}")
    return manifest


def read_problem(folder: Path) -> Problem:
    """Read a case's folder as the problem that a judge understands; `UsageError` as `read_manifest`."""
    manifest = read_manifest(folder)
    path = folder / "manifest.yaml"
    module, inputs = manifest.module, manifest.inputs
    try:
        problem = _problem(manifest, folder, _arguments("module", module), _arguments("inputs", inputs))
        _check_formulas(problem)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return problem


def _problem(manifest: ModuleManifest, folder: Path, init: Arguments, inputs: Arguments) -> Problem:
    return Problem(
        name=manifest.name,
        file=folder / manifest.module.file,
        class_name=manifest.module.class_name,
        init=init,
        inputs=inputs,
        dtypes=tuple(manifest.dtypes),
        shapes=tuple(Shape(shape.name, shape.dims, shape.weight) for shape in manifest.shapes),
        scaled=tuple(Shape(shape.name, shape.dims, shape.weight) for shape in manifest.scaled),
        tiny=Shape("tiny", manifest.tiny),
        hidden=tuple(HiddenShapes(hidden.name, _sources(hidden)) for hidden in manifest.hidden),
        bytes_formula=manifest.bytes,
        flops_formula=manifest.flops,
        reduction_formula=manifest.reduction,
        tolerance=manifest.tolerance,
        outputs=tuple(Output(output.kind, output.scores, output.best) for output in manifest.outputs),
        weights=Weights(manifest.weights.provider, manifest.weights.domains, tuple(manifest.weights.keep)),
        atomics=manifest.atomics,
        equivalent_mutants=manifest.equivalent_mutants,
        fingerprint=_fingerprint(manifest, folder),
    )


def _arguments(field: str, section: ModuleSection | InputsSection) -> Arguments:
    args = tuple(argument_tree(value, f"{field}.args.{place}") for place, value in enumerate(section.args))
    kwargs = {name: argument_tree(value, f"{field}.kwargs.{name}") for name, value in section.kwargs.items()}
    return Arguments(args, kwargs)


def _sources(hidden: HiddenSection) -> dict[str, Range | tuple[int, ...] | str]:
    sources: dict[str, Range | tuple[int, ...] | str] = {}
    for name, source in hidden.dims.items():
        if isinstance(source, RangeSection):
            sources[name] = Range(source.low, source.high, source.multiple)
        else:
            sources[name] = tuple(source) if isinstance(source, list) else str(source)
    return sources


def _check_formulas(problem: Problem) -> None:
    """Compute every formula once for every shape, so that a wrong one is said before anything is drawn."""
    for shape in (*problem.shapes, *problem.scaled, problem.tiny):
        for field, compute in (
            ("bytes", lambda dims: problem.bytes_moved(dims, problem.dtypes[0])),
            ("flops", problem.flops),
            ("reduction", problem.reduction),
        ):
            _positive_number(field, shape, compute)
    for path, spec in tensor_specs(problem.inputs):
        _check_tensor(path, spec, problem.tiny)
    for place, hidden in enumerate(problem.hidden):
        _named(f"hidden.{place}.dims", lambda hidden=hidden: hidden.draw(problem.tiny.dims, 0))


def _positive_number(field: str, shape: Shape, compute: Any) -> None:
    value = _named(field, lambda: compute(shape.dims))
    if value <= 0:
        raise UsageError(f"{field}: gives {value} for the shape {shape.name}; it must be above 0")


def _check_tensor(path: str, spec: TensorSpec, tiny: Shape) -> None:
    for size in spec.shape:
        if names(size) - tiny.dims.keys():
            raise UsageError(f"{path}.shape: {size!r} uses a dim that is not among {listed(tiny.dims)}")
        _named(f"{path}.shape", lambda size=size: whole(size, tiny.dims))
    _named(f"{path}.low", lambda: whole(spec.low, tiny.dims))
    _named(f"{path}.high", lambda: whole(spec.high, tiny.dims))
    unknown = [name for name in spec.distributions if name not in DISTRIBUTIONS]
    if unknown:
        raise UsageError(f"{path}.distributions: {', '.join(unknown)} was given; allowed are {listed(DISTRIBUTIONS)}")


def _named(field: str, compute: Any) -> Any:
    try:
        return compute()
    except UsageError as error:
        raise UsageError(f"{field}: {error}") from error


def _fingerprint(manifest: ModuleManifest, folder: Path) -> str:
    """Hash everything that decides what is drawn and computed."""
    files = ["manifest.yaml", manifest.module.file]
    files += [manifest.weights.provider.partition(":")[0]] if manifest.weights.provider else []
    digest = hashlib.sha256()
    for path in (folder / name for name in files):
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def parse_yaml(text: str) -> Any:
    """Parse YAML safely, by libyaml where PyYAML was built with it: a manifest takes 20 ms in Python."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


def _yaml(path: Path) -> dict[str, Any]:
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: it cannot be read as YAML: {error}") from error
    if not isinstance(values, Mapping):
        found = "it is empty" if values is None else f"found {type(values).__name__}"
        raise UsageError(f"{path}: {found}; a manifest is a mapping of fields to values")
    return dict(values)


def _complaint(path: Path, problem: Any) -> str:
    """One line for one wrong field: where, what was given, what is allowed."""
    field = ".".join(str(part) for part in problem["loc"] if part not in FORMS)
    given, said = problem["input"], _SAID.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    shown = "" if problem["type"] == "missing" or isinstance(given, Mapping) else f" ({_cut(repr(given))} was given)"
    known = _fields() if problem["type"] == "extra_forbidden" and "." not in field else []
    near = get_close_matches(field, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; the fields are {listed(known)}" if known else ""
    return f"{path}: {f'{field}: ' if field else ''}{said}{shown}{hint}"


def _fields() -> list[str]:
    return [field.alias or name for name, field in ModuleManifest.model_fields.items()]


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
