"""What the pydantic models say of themselves: known paths, defaults, nearest names, readable errors. Pure."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from joulegrid.jobs.plan.grid import shown
from joulegrid.jobs.plan.merge import leaves
from joulegrid.jsontypes import Json, JsonMap

_DOORS = ("_as_workload", "_path_alone")
"""Validators that only change the form of what is given."""


def models_in(annotation: object) -> list[type[BaseModel]]:
    """Return the models that may stand where `annotation` stands (`Warmup | int` gives `[Warmup]`)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (dict, list, tuple):
        return []
    return [model for part in get_args(annotation) for model in models_in(part)]


def is_open(annotation: object) -> bool:
    """Whether any key may stand below: a field that is a plain mapping."""
    return get_origin(annotation) is dict or any(is_open(part) for part in get_args(annotation))


def known_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield every dotted path that the model knows, sections included."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in models_in(field.annotation):
            yield from known_paths(inner, f"{prefix}{name}.")


def field_at(model: type[BaseModel], path: str) -> FieldInfo | None:
    """Return the field that a dotted path names or lies in (an open mapping), or `None` when it is unknown."""
    name, _, rest = path.partition(".")
    field = model.model_fields.get(name)
    if field is None or not rest or is_open(field.annotation):
        return field
    found = (field_at(inner, rest) for inner in models_in(field.annotation))
    return next((one for one in found if one is not None), None)


def unknown_in(model: type[BaseModel], mapping: JsonMap) -> list[str]:
    """List the dotted paths of a nested mapping that the model does not know."""
    return [path for path, _ in leaves(mapping) if field_at(model, path) is None]


def checked_together(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted paths of the sections whose fields are checked against each other by a validator."""
    if any(name not in _DOORS for name in model.__pydantic_decorators__.model_validators):
        yield prefix.rstrip(".")
    for name, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            yield from checked_together(inner, f"{prefix}{name}.")


def unknown_key(path: str, candidates: Iterable[str], where: str = "") -> str:
    """Say that a key is unknown, with the nearest valid name."""
    names = sorted(set(candidates))
    path = path or "''"
    leaf = path.rsplit(".", 1)[-1]
    near = difflib.get_close_matches(path, names, n=1, cutoff=0.6)
    near = near or [
        name for name in names if name.rsplit(".", 1)[-1] in difflib.get_close_matches(leaf, _leafs(names), n=1)
    ]
    hint = (
        f"did you mean {near[0]!r}?" if near else f"valid here: {', '.join(name for name in names if '.' not in name)}"
    )
    return f"{where}{path}: unknown key; {hint}"


def _leafs(names: list[str]) -> list[str]:
    return [name.rsplit(".", 1)[-1] for name in names]


def defaults(model: type[BaseModel], prefix: str = "") -> dict[str, Json]:
    """Return dotted path → default of every field that has one, as JSON values."""
    found: dict[str, Json] = {}
    for name, field in model.model_fields.items():
        path = prefix + name
        if field.is_required():
            for inner in models_in(field.annotation):
                found |= defaults(inner, f"{path}.")
            continue
        default = field.get_default(call_default_factory=True)
        value = TypeAdapter[Any](field.annotation or Any).dump_python(default, mode="json")
        found |= dict(leaves({name: value}, prefix))
    return found


def explained(model: type[BaseModel], error: ValidationError) -> list[tuple[str, str]]:
    """Return (dotted path, what was given and what is allowed) of each error of a failed validation.

    Where a field takes either a plain value or a section, only the complaints about the given form are kept.
    """
    found: dict[str, list[ErrorDetails]] = {}
    for one in error.errors(include_url=False):
        found.setdefault(error_path(model, one["loc"]), []).append(one)
    told = []
    for path, several in found.items():
        below = any(other.startswith(path + ".") for other in found)
        kept = [one for one in several if not (one["type"].endswith("_type") and (below or len(several) > 1))]
        told += [(path, _explain(path, one)) for one in kept or ([] if below else several[:1])]
    return told


def explain_all(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Explain each error of a failed validation in one line."""
    return [message for _, message in explained(model, error)]


def error_path(model: type[BaseModel], loc: Sequence[int | str]) -> str:
    """Return the dotted path of one pydantic error, without the names of union members and validators."""
    path = ""
    for number, part in enumerate(loc):
        step = f"{path}.{part}" if path else str(part)
        if "[" in str(part):  # `list[any]`, `[key]`: pydantic's own words
            continue
        if field_at(model, step) is not None or isinstance(part, int) or number == 0:
            path = step
    return path


def _explain(path: str, error: ErrorDetails) -> str:
    path = path or "study"
    kind, message = error["type"], str(error["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        return f"{path}: missing; it has no default, so give a value"
    if kind == "extra_forbidden":
        return f"{'.'.join(map(str, error['loc']))}: unknown key"
    if kind in ("model_type", "model_attributes_type", "dict_type", "dataclass_type"):
        message = "give a mapping of keys to values"
    if kind in ("list_type", "tuple_type"):
        message = f"give a list, e.g. [{shown(error['input'])}]"
    message = message.removeprefix(f"{path.rpartition('.')[2]}: ")
    if kind != "value_error":
        message = message.replace("Input should be", "it should be", 1)
        message = message[:1].lower() + message[1:]
    if isinstance(error["input"], list) and kind not in ("list_type", "value_error"):
        message += f"; to vary it, put it under sweep: {path}: {shown(error['input'])}"
    return f"{path}: given {shown(error['input'])}; {message}"


def expanded(model: type[BaseModel], mapping: JsonMap) -> dict[str, Any]:
    """Write out sections that are given as one word (`script: job.py`), so that more can be merged into them."""
    found: dict[str, Any] = dict(mapping)
    for name, value in mapping.items():
        field = model.model_fields.get(name)
        for inner in models_in(field.annotation) if field is not None else []:
            if isinstance(value, Mapping):
                found[name] = expanded(inner, value)
            elif isinstance(value, str):
                with contextlib.suppress(ValidationError):
                    found[name] = inner.model_validate(value).model_dump(mode="json", exclude_unset=True)
    return found


def fits(model: type[BaseModel], path: str, value: Json) -> bool:
    """Whether the field at `path` takes the value."""
    field = field_at(model, path)
    try:
        adapter: TypeAdapter[Any] = TypeAdapter((field and field.annotation) or Any)
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def coerced(model: type[BaseModel], path: str, value: Json) -> Json:
    """Return a value as the type of the field at `path` would store it in JSON; unchanged where it does not fit."""
    field = field_at(model, path)
    if field is None or is_open(field.annotation):
        return value
    adapter: TypeAdapter[Any] = TypeAdapter(field.annotation or Any)
    try:
        return adapter.dump_python(adapter.validate_python(value), mode="json")
    except ValidationError:
        return value


def typed(model: type[BaseModel], path: str, parsed: Json, text: str) -> Json:
    """Choose between a value as YAML reads it and as it was typed, by what the schema accepts at `path`.

    `--set model=7` means the name "7", `--set pytorch.batch_size=7` the number.
    """
    field = field_at(model, path)
    if field is None or is_open(field.annotation) or isinstance(parsed, (list, dict)):
        return parsed
    adapter: TypeAdapter[Any] = TypeAdapter(field.annotation or Any)
    try:
        adapter.validate_python(parsed)
    except ValidationError:
        try:
            adapter.validate_python(text)
        except ValidationError:
            return parsed
        return text
    return parsed
