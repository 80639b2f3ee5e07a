"""Reading YAML files that people write: duplicate keys are errors, `base:` files are merged. No schema here."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from joulegrid.errors import UsageError
from joulegrid.jobs.plan.merge import deep_merge, sections

MAX_VALUES = 1_000_000
MAX_DEPTH = 100
LARGE = 200_000
"""Characters of a study that nobody reads line by line."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with unique keys, and with YAML 1.2's plain scalars.

    So `1e-3` is a number, `no` (Norway) and `2024-01-31` are texts, and only `true` and `false` are truth values.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        own = [key_node for key_node, _ in node.value if key_node.tag != "tag:yaml.org,2002:merge"]
        seen: set[Hashable] = set()
        for key_node in own:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain value", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
_PLAIN = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (rf"{_FLOAT}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789"),
}
"""What a plain scalar is (YAML 1.2, 10.3.2, but leading zeros and octals stay texts); the rest as in PyYAML."""


def _yaml_1_2_scalars() -> None:
    replaced = {f"tag:yaml.org,2002:{kind}" for kind in (*_PLAIN, "timestamp")}
    _Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in replaced]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for kind, (pattern, first) in _PLAIN.items():
        _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"({pattern})$"), list(first))


_yaml_1_2_scalars()


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which quotes also what YAML 1.2 takes for a number: the text `1e3` stays a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, ()),
            *_Loader.yaml_implicit_resolvers.get(first, ()),
        ]
        for first in yaml.SafeDumper.yaml_implicit_resolvers | _Loader.yaml_implicit_resolvers
    }


def parse(text: str, where: str) -> Any:
    """Parse YAML text; `UsageError` with line and column where it is none."""
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
        _refuse_unusable(value)
        return value
    except RecursionError as error:
        raise UsageError(f"{where}: nested too deeply; a study needs a few levels only") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        told = " ".join(str(error).split()).replace('in "<unicode string>", ', "in ")
        raise UsageError(f"{where}: not valid YAML: {told}") from error


def _refuse_unusable(value: Any) -> None:
    """Aliases (`*name`) can make a small text endless; count what they stand for, down to a depth of 100."""
    front, n_values, depth = [value], 0, 0
    while front:
        n_values, depth = n_values + len(front), depth + 1
        if n_values > MAX_VALUES or depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_VALUES:,} values or {MAX_DEPTH} levels; aliases may refer to themselves")
        if any(isinstance(one, str) and _SURROGATE.search(one) for one in front):
            raise ValueError("half of a UTF-16 pair (\\ud800 to \\udfff) is no text; write the character itself")
        front = [inner for one in front if isinstance(one, dict | list) for inner in _inside(one)]


def _inside(value: dict[Any, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def written(mapping: Mapping[str, Any]) -> str:
    """Write a mapping that a file can hold; `parse` reads it.

    What is large is written as JSON, a line a key: PyYAML needs 13 s for a million numbers. JSON is YAML too, but for
    characters beyond ASCII, of which some end a line in YAML.
    """
    with contextlib.suppress(ValueError):  # JSON has no NaN
        lines = [
            f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
            for key, value in mapping.items()
        ]
        if sum(map(len, lines)) > LARGE and all(line.isascii() and "\x7f" not in line for line in lines):
            return "\n".join([*lines, ""])
    return yaml.dump(dict(mapping), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """Read a file that holds one mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a NUL in the path
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"{what}: cannot read {path}: {reason}; give the path of a YAML file") from error
    value = parse(text, str(path))
    if not isinstance(value, dict):
        found = {"NoneType": "nothing", "str": "text", "int": "a number"}.get(
            type(value).__name__, f"a {type(value).__name__}"
        )
        raise UsageError(f"{path}: found {found}; a {what} is a mapping of keys to values, e.g. `model: tiny-lm`")
    return {str(key): inner for key, inner in value.items()}


def read_with_base(path: Path, what: str, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a mapping and deep-merge it over the file that its key `base` names, relative to its own folder."""
    if path in seen:
        chain = " → ".join(one.name for one in (*seen, path))
        raise UsageError(f"base: {chain} is a loop; a study cannot be its own base")
    mapping = sections(read_mapping(path, what))
    base = mapping.pop("base", None)
    if base is None:
        return mapping
    if not isinstance(base, str):
        raise UsageError(f"{path}: base: given {base!r}; give the name of one file beside the study")
    if not base.strip() or "\0" in base:
        raise UsageError(f"{path}: base: given {base!r}; give the name of one file beside the study")
    return deep_merge(read_with_base((path.parent / base).resolve(), "base", (*seen, path)), mapping)
