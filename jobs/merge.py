"""Nested mappings by dotted path: read, set, merge, list. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from joulegrid.jsontypes import Json, JsonMap

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
    """Turn `{"a.b": 1}` into `{"a": {"b": 1}}`; a value that is a mapping stays one."""
    result: dict[str, Any] = {}
    for path, value in patch.items():
        *parents, leaf = path.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        both = isinstance(value, Mapping) and isinstance(place.get(leaf), dict)
        place[leaf] = deep_merge(place[leaf], value) if both else value
    return result


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
