"""`manifest.json` as a report reads it: a field that was changed into something else is left out, the others are told.

The results themselves are held by their markers; a manifest is for people, and people edit it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from joulegrid.actors.ending import clean
from joulegrid.cluster.storage import checked_path
from joulegrid.jobs.report.run_results import read_json

if TYPE_CHECKING:
    from joulegrid.cluster.storage import Store

LARGEST = 2**53
"""Larger counts are no counts: JSON's readers do not agree on them."""
_TEXTS = ("study_name", "study_design_hash", "state", "cycle_order", "started_at", "ended_at")
_TASK_TEXTS = ("key", "label", "status", "failure_class", "message")
_COUNTS = ("n_experiments", "n_cycles", "n_tasks", "n_duplicates")
_TASK_COUNTS = ("index", "cycle", "attempt")


def read_manifest(store: Store) -> dict[str, Any]:
    """Return what the manifest of a run says; empty where there is none."""
    return sound(read_json(store, "manifest.json"))


def sound(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of a manifest, or of a plan, that are what they must be."""
    told = clean(dict(told))
    kept = texts(told, _TEXTS) | counts(told, _COUNTS)
    seconds = told.get("duration_s")
    if isinstance(seconds, int | float) and 0 <= seconds < LARGEST:
        kept["duration_s"] = float(seconds)
    kept |= {name: told[name] for name in ("grammar", "budget") if isinstance(told.get(name), dict)}
    kept |= {name: counts(told[name]) for name in ("counts", "failures_by_class") if isinstance(told.get(name), dict)}
    kept |= {name: _mappings(told.get(name)) for name in ("tasks", "skipped") if isinstance(told.get(name), list)}
    kept["tasks"] = [_task(one) for one in kept.get("tasks", [])]
    kept["notes"] = (
        [one for one in told["notes"] if isinstance(one, str)] if isinstance(told.get("notes"), list) else []
    )
    return kept | {"unfenced": told.get("unfenced") is True}


def texts(told: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of these names that are text."""
    return {name: told[name] for name in names if isinstance(told.get(name), str)}


def counts(told: Mapping[str, Any], names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Return the fields of these names, or all, that are whole numbers from 0."""
    found = ((name, told.get(name)) for name in (names if names is not None else told))
    return {name: value for name, value in found if type(value) is int and 0 <= value <= LARGEST}


def _mappings(listed: Any) -> list[dict[str, Any]]:
    return [one for one in listed if isinstance(one, dict)]


def _task(entry: dict[str, Any]) -> dict[str, Any]:
    kept = texts(entry, _TASK_TEXTS) | counts(entry, _TASK_COUNTS)
    if isinstance(entry.get("failure"), dict):
        kept["failure"] = entry["failure"]
    path = entry.get("path")
    return kept | ({"path": path} if isinstance(path, str) and _is_inside(path) else {})


def _is_inside(path: str) -> bool:
    try:
        return checked_path(path) == path
    except ValueError:
        return False
