"""The cases that a name can mean: folders with a manifest, the project's own in `./cases` and the packaged ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from joulegrid.cases.manifest import parse_yaml, read_manifest
from joulegrid.errors import UsageError

PACKAGED = Path(__file__).resolve().parent
TEMPLATE = PACKAGED / "TEMPLATE"


@dataclass(frozen=True, slots=True)
class CaseEntry:
    """One line of a list: what a case is, or why its manifest cannot be read."""

    name: str
    kind: str | None
    description: str
    folder: Path
    level: int | None = None
    dtypes: tuple[str, ...] = ()
    shapes: int = 0
    error: str | None = None
    is_own: bool = False
    """It lies in `./cases` of the project, not among the packaged ones."""


def case_folders(places: Sequence[Path] | None = None) -> dict[str, Path]:
    """Return name → folder; of two with one name the project's own, `./cases/NAME`, is taken."""
    found: dict[str, Path] = {}
    for place in places or (PACKAGED, Path("cases").resolve()):
        manifests = (path for path in place.glob("*/manifest.yaml") if path.parent != TEMPLATE)
        found |= {path.parent.name: path.parent for path in manifests if path.parent.name != TEMPLATE.name}
    return dict(sorted(found.items()))


def case_folder(name: str) -> Path:
    """Return the folder of a case by name, or by a path to it; `UsageError` with the nearest names otherwise."""
    folders = case_folders()
    if name in folders:
        return folders[name]
    path = Path(name).expanduser()
    if (path / "manifest.yaml").is_file():
        return path.resolve()
    near = get_close_matches(name, folders, n=3)
    hint = f" (did you mean {', '.join(near)}?)" if near else ""
    bare = next((one for one in (path, Path("cases") / name) if name and one.is_dir()), None)
    found = "was not found" if bare is None else f"is a folder without manifest.yaml ({bare.resolve()})"
    raise UsageError(
        f"case: {name!r} {found}{hint}; give a name that `joulegrid case list` shows, or the path of a case's folder"
    )


def list_cases(places: Sequence[Path] | None = None) -> list[CaseEntry]:
    """Return all cases of every kind, those with a broken manifest included."""
    own = Path("cases").resolve()
    found = [_entry(name, folder) for name, folder in case_folders(places).items()]
    return [replace(entry, is_own=entry.folder.parent == own != PACKAGED) for entry in found]


def module_cases() -> dict[str, Path]:
    """Return name → folder of the cases that are modules."""
    return {name: folder for name, folder in case_folders().items() if _values(folder).get("kind") == "module"}


def _entry(name: str, folder: Path) -> CaseEntry:
    values = _values(folder)
    kind, description = values.get("kind"), str(values.get("description", ""))
    if kind in ("model", "script", "brief"):
        return CaseEntry(name, str(kind), description, folder)
    try:
        manifest = read_manifest(folder)
    except UsageError as error:
        return CaseEntry(name, None if kind is None else str(kind), description, folder, error=str(error))
    return CaseEntry(
        name, "module", manifest.description, folder, manifest.level, tuple(manifest.dtypes), len(manifest.shapes)
    )


def _values(folder: Path) -> dict[str, Any]:
    """The manifest as plain values; empty where it cannot be read, which `read_manifest` then says."""
    try:
        values = parse_yaml((folder / "manifest.yaml").read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        return {}
    return values if isinstance(values, dict) else {}
