"""Names of points for people: the varied fields and their values. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from joulegrid.jobs.plan.fields import Fields
from joulegrid.jobs.plan.identity import canonical
from joulegrid.jsontypes import Json


def short_names(varied: Sequence[str]) -> dict[str, str]:
    """Return dotted path → its last part, where no other path ends so; else the whole path."""
    leafs = [path.rsplit(".", 1)[-1] for path in varied]
    return {path: leaf if leafs.count(leaf) == 1 else path for path, leaf in zip(varied, leafs, strict=True)}


def label_of(fields: Fields, names: Mapping[str, str], values: Mapping[str, Json]) -> str:
    """Name a point by its varied fields, `batch_size=8 precision=fp16`; empty where nothing is varied."""
    return " ".join(f"{name}={shown_in_label(fields.value(values, path))}" for path, name in names.items())


def shown_in_label(value: Json) -> str:
    """A text that could be taken for another kind of value is quoted."""
    if not isinstance(value, str):
        return canonical(value)
    looks_other = value in ("true", "false", "null", "") or value.strip("+-.0123456789eE") == ""
    return canonical(value) if looks_other else value
