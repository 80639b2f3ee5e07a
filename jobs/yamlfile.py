"""Reading YAML files that people write: duplicate keys are errors, `base:` files are merged. No schema here."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from joulegrid.errors import UsageError
from joulegrid.jobs.merge import deep_merge


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, except that a key may stand only once in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain value", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def parse(text: str, where: str) -> Any:
    """Parse YAML text; `UsageError` with line and column where it is none."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """Read a file that holds one mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"{what}: cannot read {path}: {reason}; give the path of a YAML file") from error
    value = parse(text, str(path))
    if not isinstance(value, dict):
        found = "nothing" if value is None else type(value).__name__
        raise UsageError(f"{path}: a {what} is a mapping of keys to values, found {found}")
    return {str(key): inner for key, inner in value.items()}


def read_with_base(path: Path, what: str, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a mapping and deep-merge it over the file that its key `base` names, relative to its own folder."""
    path = path.resolve()
    if path in seen:
        chain = " → ".join(one.name for one in (*seen, path))
        raise UsageError(f"base: {chain} is a loop; a study cannot be its own base")
    mapping = read_mapping(path, what)
    base = mapping.pop("base", None)
    if base is None:
        return mapping
    if not isinstance(base, str):
        raise UsageError(f"{path}: base: given {base!r}; give the name of one file beside the study")
    return deep_merge(read_with_base(path.parent / base, "base", (*seen, path)), mapping)
