"""A study as it was really run: bases merged, flags applied, files named so that they are found from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from joulegrid.cases.contract import Places
from joulegrid.jobs.plan.merge import leaves, nested
from joulegrid.jobs.study.study import StudyConfig
from joulegrid.jobs.study.yamlfile import written

HEAD = "# The study as it was run: bases merged, flags applied. `joulegrid run` with this file runs the same again.\n"


def resolved_yaml(study: StudyConfig, input_fields: Iterable[str]) -> str:
    """Return a study file that stands alone; inputs that are files get absolute paths."""
    places, fields = Places(study.folder), frozenset(input_fields)
    grammar = study.model_dump(
        mode="json", exclude_defaults=True, exclude={"experiment", "sweep", "zip", "experiments"}
    )
    content: dict[str, Any] = {"study_name": study.study_name, **grammar, **_found(study.experiment, fields, places)}
    if study.sweep:
        content["sweep"] = _axes(study.sweep, fields, places)
    if study.zip:
        groups = study.zip if isinstance(study.zip, list) else [study.zip]
        content["zip"] = [_axes(group, fields, places) for group in groups]
    if study.experiments:
        content["experiments"] = [_found(one, fields, places) for one in study.experiments]
    return HEAD + written(content)


def _found(mapping: Mapping[str, Any], fields: frozenset[str], places: Places) -> dict[str, Any]:
    return nested({path: _absolute(value, places) if path in fields else value for path, value in leaves(mapping)})


def _axes(axes: Mapping[str, Any], fields: frozenset[str], places: Places) -> dict[str, Any]:
    def value(path: str, one: Any) -> Any:
        if isinstance(one, Mapping):
            return {inner: value(inner, what) for inner, what in leaves(one)}
        if isinstance(one, list):
            return [value(path, inner) for inner in one]
        return _absolute(one, places) if path in fields else one

    return {path: value(path, values) for path, values in axes.items()}


def _absolute(value: Any, places: Places) -> Any:
    if not isinstance(value, str) or not places.file(value).exists():
        return value
    return str(places.file(value).resolve())
