"""From a file, an object or keywords to a valid `StudyConfig`. Every complaint about a study is made here, at once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from joulegrid.cases.registry import workload_named
from joulegrid.cluster.carbon.config import CarbonConfig, over
from joulegrid.cluster.power.sampler.trace import read_trace
from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.errors import UsageError
from joulegrid.jobs.plan.merge import GRAMMAR, deep_merge, leaves, nested, sections
from joulegrid.jobs.study.pyfile import StudyFile, run_file
from joulegrid.jobs.study.schema import expanded, explain_all, typed, unknown_in, unknown_key
from joulegrid.jobs.study.study import SECTIONS, StudyConfig, collected, power_section, unknown_keys
from joulegrid.jobs.study.text import refuse_unwritable
from joulegrid.jobs.study.yamlfile import parse, read_mapping, read_with_base, written

CARBON_PATHS = tuple(f"carbon.{name}" for name in CarbonConfig.model_fields)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a command line adds to the study file."""

    sets: tuple[str, ...] = ()
    """`a.b=1`, typed by the schema."""
    sweeps: tuple[str, ...] = ()
    """`a.b=1,2`: a further axis, or other values for an axis of the file."""
    execution: Mapping[str, Any] | None = None
    """Fields of `execution:` given as flags."""
    output: str | None = None
    power: str | None = None


class UserConfig(BaseModel):
    """Defaults of one person on one machine; a study's own words win over them."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    output: str | None = None
    """Folder or `s3://…` for runs."""
    power: PowerConfig | str | None = None
    """Power source, or the whole section."""
    carbon: CarbonConfig = CarbonConfig()
    """`carbon: {zone: FR}`, or the whole section of `execution.carbon`."""


def user_config_path() -> Path:
    """`$JOULEGRID_CONFIG`, else `$XDG_CONFIG_HOME/joulegrid/config.yaml`, else the same below `~/.config`."""
    explicit = os.environ.get("JOULEGRID_CONFIG")
    if explicit:
        return Path(explicit).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "joulegrid" / "config.yaml"


def read_user_config() -> UserConfig:
    """Read the user's defaults; an absent file is an empty one, a wrong one is a `UsageError`."""
    path = user_config_path()
    if not path.is_file():
        return UserConfig()
    mapping = read_mapping(path, "user configuration")
    unknown = [unknown_key(name, ["output", "power", *CARBON_PATHS]) for name in unknown_in(UserConfig, mapping)]
    if unknown:
        raise UsageError(f"{path}:\n" + "\n".join(unknown))
    try:
        return UserConfig.model_validate(mapping)
    except ValidationError as error:
        raise UsageError(f"{path}:\n" + "\n".join(explain_all(UserConfig, error))) from error


def load_study(
    path: str | Path, overrides: Overrides | None = None, fields: Mapping[str, Any] | None = None
) -> StudyConfig:
    """Read a study with its bases, fields, overrides and the user's defaults; `UsageError` names every fault.

    A file that ends in `.py` is run, see `joulegrid.jobs.study.pyfile`; any other is YAML.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "is not a plain file" if file.exists() else "does not exist"
        raise UsageError(f"{file} {what}; give the path of a study, e.g. studies/quickstart.yaml")
    if file.suffix == ".py":
        return _python_study(run_file(file.resolve()), overrides, fields or {})
    mapping = read_with_base(file.resolve(), "study")
    mapping.setdefault("study_name", _name_from(file))
    mapping = with_fields(mapping, fields or {})
    return make_study(mapping, overrides, folder=file.resolve().parent, source=file.read_text(encoding="utf-8"))


def _python_study(file: StudyFile, overrides: Overrides | None, fields: Mapping[str, Any]) -> StudyConfig:
    mapping = {"study_name": _name_from(file.path), **file.mapping()}
    workload = None if "workload" in mapping else file.first_workload()
    mapping = with_fields(mapping if workload is None else {**mapping, "workload": workload}, fields)
    study = make_study(mapping, overrides, folder=file.path.parent, source=file.text)
    if study.execution.max_experiments is None:
        file.refuse_endless()
    return study.model_copy(update={"searcher": file.source(), "source_name": "study.py"})


def make_study(
    mapping: Mapping[str, Any],
    overrides: Overrides | None = None,
    *,
    folder: Path | None = None,
    source: str | None = None,
) -> StudyConfig:
    """Validate a study given as a mapping; see `load_study`."""
    values = _with_user_defaults(_overridden(sections(mapping), overrides or Overrides()), read_user_config())
    refuse_unwritable(values)
    given = collected(values)
    problems = unknown_keys(given)
    given |= {"folder": folder or Path.cwd()}
    given |= {"source": source if source is not None else written(_plain(mapping))}
    try:
        study = StudyConfig.model_validate(given)
    except ValidationError as error:
        problems += [one for one in explain_all(StudyConfig, error) if not one.endswith(": unknown key")]
    except UsageError as error:
        problems += str(error).splitlines()
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))
    if study.power.trace is None:
        return study
    place = Path(study.power.trace).expanduser().absolute()
    read_trace(place)  # a damaged one is refused here, and not on a node
    return study.model_copy(update={"power": study.power.model_copy(update={"trace": str(place)})})


def with_fields(mapping: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Replace fields of a study by others; a dotted name replaces just what it names."""
    dotted = {name: value for name, value in fields.items() if "." in name}
    plain = {name: value for name, value in fields.items() if name not in dotted}
    return deep_merge({**mapping, **plain}, nested(dotted))


def _plain(mapping: Mapping[str, Any]) -> Any:
    """What YAML can write: tuples, paths and the like become lists and texts."""
    return json.loads(json.dumps(dict(mapping), default=str))


def _name_from(file: Path) -> str:
    safe = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in file.stem)
    return safe.strip("-._")[:80] or "study"


def _with_user_defaults(values: dict[str, Any], user: UserConfig) -> dict[str, Any]:
    if user.output is not None:
        values.setdefault("output", user.output)
    if user.power is not None:
        own = {"source": user.power} if isinstance(user.power, str) else user.power.model_dump(exclude_unset=True)
        values["power"] = _over(own, power_section(values.get("power")))
    own = user.carbon.model_dump(exclude_unset=True)
    execution = values.get("execution", {})
    if own and isinstance(execution, Mapping):
        given = execution.get("carbon", {})
        values["execution"] = {**execution, "carbon": over(own, given) if isinstance(given, Mapping) else given}
    return values


def _over(below: Mapping[str, Any], above: Any) -> Any:
    """Merge a section over defaults; what is no mapping is left alone, so that it is complained of."""
    return deep_merge(below, above) if isinstance(above, Mapping) else above


def _overridden(values: dict[str, Any], overrides: Overrides) -> dict[str, Any]:
    if overrides.output is not None:
        values["output"] = overrides.output
    if overrides.power is not None:
        section = power_section(values.get("power"))
        values["power"] = {**(section if isinstance(section, Mapping) else {}), "source": overrides.power}
    if overrides.execution:
        values["execution"] = _added(values.get("execution"), overrides.execution)
    for text in overrides.sets:
        path, value = _assignment("--set", text, "a.b=1")
        given = _typed(values, path, parse(value, f"--set {path}"), value)
        values = _pinned(values, path)
        values = {**values, path: given} if path in GRAMMAR else deep_merge(_written_out(values), nested({path: given}))
    axes: dict[str, list[Any]] = {}
    for text in overrides.sweeps:
        path, value = _assignment("--sweep", text, "a.b=1,2")
        if path in axes:
            raise UsageError(f"--sweep {path} is given twice; list all its values once: --sweep {path}=1,2")
        axes[path] = [_typed(values, path, parsed, raw) for parsed, raw in _split(value, path)]
    if axes:
        values["sweep"] = _added(values.get("sweep"), axes)
    return values


def _pinned(values: dict[str, Any], path: str) -> dict[str, Any]:
    """A field that is set is swept no longer; inside a group or a zip that would leave a torso, so it is refused."""
    sweep = values.get("sweep")
    if isinstance(sweep, Mapping) and path in sweep:
        return {**values, "sweep": {name: axis for name, axis in sweep.items() if name != path}}
    groups = [
        values.get("zip"),
        *(values.get("experiments") or []),
        *(sweep.values() if isinstance(sweep, Mapping) else []),
    ]
    if any(path in known for group in groups for known in _paths_in(group)):
        raise UsageError(
            f"--set {path}: a group, zip or explicit experiment of the study varies it; edit the study there"
        )
    return values


def _paths_in(group: Any) -> list[dict[str, Any]]:
    """The mappings of dotted paths that stand in a group, a zip or an explicit experiment."""
    parts = group if isinstance(group, list) else [group]
    return [dict(leaves(part)) for part in parts if isinstance(part, Mapping)]


def _added(section: Any, more: Mapping[str, Any]) -> Any:
    """Add keys to a section; what is no mapping is left alone, so that it is complained of."""
    return {**section, **more} if isinstance(section, Mapping) else more if section is None else section


def _written_out(values: dict[str, Any]) -> dict[str, Any]:
    return expanded(workload_named(values.get("workload", "inference")).Config, values)


def _assignment(flag: str, text: str, example: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not equals or not path.strip() or not value.strip():
        raise UsageError(f"{flag} {text!r}: give a dotted path and a value, e.g. {flag} {example}")
    return path.strip(), value.strip()


def _split(value: str, path: str) -> Sequence[tuple[Any, str]]:
    """Split at commas as a YAML list does, so that quotes and brackets hold; keep the raw texts where they match."""
    parsed = parse(f"[{value}]", f"--sweep {path}")
    raw = [part.strip() for part in value.split(",")]
    texts = raw if len(raw) == len(parsed) else [str(item) for item in parsed]
    return list(zip(parsed, texts, strict=True))


def _typed(values: Mapping[str, Any], path: str, parsed: Any, text: str) -> Any:
    if path.split(".")[0] in SECTIONS:
        return typed(StudyConfig, path, parsed, text)
    return typed(workload_named(values.get("workload", "inference")).Config, path, parsed, text)
