"""Write `docs/schema/*.json` from the models in the code: `python docs/make_schemas.py`.

`StudyConfig.json` describes a study *file*: what stands at its top level, the fields of every workload included. It
checks names and types, not the rules between fields: `joulegrid plan` knows those. The other two describe
`result.json` and `study_result.json` exactly.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "schema"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
NOT_IN_A_FILE = ("folder", "source", "source_name", "searcher")
DOTTED = r"^[A-Za-z_]\w*(\.\w+)+$"


def schemas() -> dict[str, dict[str, Any]]:
    """Return file name → schema."""
    from joulegrid import ExperimentResult, StudyResult

    return {
        "ExperimentResult.json": {"$schema": DIALECT, **ExperimentResult.model_json_schema(mode="serialization")},
        "StudyResult.json": {"$schema": DIALECT, **StudyResult.model_json_schema(mode="serialization")},
        "StudyConfig.json": study_file_schema(),
    }


def study_file_schema() -> dict[str, Any]:
    """Return the schema of a study file: a study's own fields and those of all workloads side by side."""
    from joulegrid import StudyConfig
    from joulegrid.cases.registry import WORKLOADS

    study = StudyConfig.model_json_schema()
    fields = {name: field for name, field in study["properties"].items() if name not in NOT_IN_A_FILE}
    fields["power"] = {"anyOf": [{"type": ["string", "boolean", "null"]}, fields["power"]]}
    fields["base"] = {"type": "string", "description": "Another study file beside this one, which this one amends."}
    parts = dict(study["$defs"])
    for workload in WORKLOADS.values():
        config = workload.Config.model_json_schema()
        parts |= _optional(config.get("$defs", {}))
        fields |= config["properties"]
    fields["script"] = {"anyOf": [{"type": "string"}, fields["script"]]}
    fields["workload"] = {"enum": sorted(WORKLOADS), "default": "inference", "description": "What a task runs."}
    return {
        "$schema": DIALECT,
        "title": "A Joulegrid study",
        "type": "object",
        "properties": {name: _defaultless(field) for name, field in sorted(fields.items())},
        "patternProperties": {DOTTED: {"description": "A field by its dotted path, e.g. pytorch.batch_size."}},
        "additionalProperties": False,
        "$defs": dict(sorted(parts.items())),
    }


def _optional(parts: dict[str, Any]) -> dict[str, Any]:
    """Sections in which nothing is required, because an axis of the sweep may set any field."""
    return {name: {key: value for key, value in part.items() if key != "required"} for name, part in parts.items()}


def _defaultless(field: dict[str, Any]) -> dict[str, Any]:
    """Drop the default of a section: its own fields tell theirs."""
    return {key: value for key, value in field.items() if not (key == "default" and isinstance(value, dict))}


def main() -> int:
    """Write every schema; return the exit code."""
    FOLDER.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        (FOLDER / name).write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        sys.stdout.write(f"{FOLDER / name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
