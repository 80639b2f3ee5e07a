"""What the pydantic models say of themselves: known paths, defaults, nearest names, readable errors. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from joulegrid.jobs.merge import leaves
from joulegrid.jsontypes import Json, JsonMap


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


def unknown_key(path: str, candidates: Iterator[str] | list[str], where: str = "") -> str:
    """Say that a key is unknown, with the nearest valid name."""
    names = sorted(set(candidates))
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


def error_path(error: Mapping[str, Any]) -> str:
    """Return the dotted path of one pydantic error, without the names of union members."""
    return ".".join(str(part) for part in error["loc"] if isinstance(part, int) or str(part).isidentifier())


def explain(error: Mapping[str, Any]) -> str:
    """Say what was given and what is allowed, in one line."""
    path = error_path(error) or "study"
    if error["type"] == "missing":
        return f"{path}: missing; it has no default, so give a value"
    if error["type"] == "extra_forbidden":
        return f"{path}: unknown key"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{path}: given {error['input']!r}; {message[:1].lower()}{message[1:]}"


def explain_all(error: ValidationError) -> list[str]:
    """Explain each error of a failed validation."""
    return [explain(dict(one)) for one in error.errors(include_url=False)]


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
