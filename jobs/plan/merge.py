"""Nested mappings by dotted path: merge, list, look up. Pure; a dot in a key is a path at every depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from joulegrid.errors import UsageError
from joulegrid.jsontypes import Json, JsonMap

GRAMMAR = ("sweep", "zip", "experiments")
"""Sections of a study whose keys are paths, not sections."""
_MISSING = object()


def deep_merge(below: JsonMap, above: JsonMap) -> dict[str, Any]:
    """Merge two nested mappings; `above` wins, lists replace, neither argument changes."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        merged[name] = deep_merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def nested(patch: JsonMap) -> dict[str, Any]:
    """Turn `{"a.b": 1, "a": {"c": 2}}` into `{"a": {"b": 1, "c": 2}}`; `UsageError` where a path is given twice."""
    result: dict[str, Any] = {}
    for path, value in patch.items():
        inner: Any = nested(value) if isinstance(value, Mapping) else value
        for name in reversed(str(path).split(".")):
            inner = {name: inner}
        _join(result, inner)
    return result


def sections(study: JsonMap) -> dict[str, Any]:
    """Nest the dotted keys of a study's top level; a sweep's own keys stay dotted, because there they are paths."""
    kept = {name: _text_keys(value) for name, value in study.items() if name in GRAMMAR}
    for path in study:
        head, dot, rest = str(path).partition(".")
        if dot and head in GRAMMAR:
            raise UsageError(f"{path}: write `{head}:` once, and {rest!r} as a key below it")
    return {**nested({name: value for name, value in study.items() if name not in GRAMMAR}), **kept}


def _text_keys(section: Any) -> Any:
    return {str(name): value for name, value in section.items()} if isinstance(section, Mapping) else section


def _join(place: dict[str, Any], more: Mapping[str, Any], prefix: str = "") -> None:
    for name, value in more.items():
        if name not in place:
            place[name] = value
        elif isinstance(place[name], dict) and isinstance(value, dict):
            _join(place[name], value, f"{prefix}{name}.")
        else:
            raise UsageError(f"{prefix}{name}: given twice, once in each way of writing it; keep one of them")


def leaves(mapping: JsonMap, prefix: str = "") -> Iterator[tuple[str, Json]]:
    """Yield (dotted path, value) of every value that is not a non-empty mapping."""
    for name, value in mapping.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def lookup(mapping: JsonMap, path: str, default: Json = None) -> Json:
    """Return the value at a dotted path, or `default`."""
    value: Any = mapping
    for name in path.split("."):
        value = value.get(name, _MISSING) if isinstance(value, Mapping) else _MISSING
        if value is _MISSING:
            return default
    return value


def within(path: str, section: str) -> bool:
    """Whether a dotted path is the section itself or lies in it; everything lies in the section `""`."""
    return not section or path == section or path.startswith(section + ".")


def overlap(one: str, other: str) -> bool:
    """Whether setting one dotted path can change what stands at the other."""
    return within(one, other) or within(other, one)
