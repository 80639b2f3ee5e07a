"""What a run was planned as, frozen in its folder: `plan.json`, and one more for each time that it was extended.

Grammar and hashes, never points.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from difflib import unified_diff
from typing import Any

from joulegrid.cluster.secrets import mask
from joulegrid.cluster.storage import Store
from joulegrid.jobs.plan.identity import digest
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.study.study import StudyConfig
from joulegrid.jsontypes import Json

GRAMMAR = ("experiment", "sweep", "zip", "experiments", "deduplicate")
_IDENTITY = ("study_name", "study_design_hash", "inputs_hash", "n_experiments")
_SHOWN = 200
_LINES_SHOWN = 20
_NO_DIFFERENCE = ("searcher.fingerprint", "search.budget")
"""What tells a person nothing, and what may be changed."""


def design_of(study: StudyConfig, plan: Plan | AskedPlan) -> dict[str, Any]:
    """Return what a run's folder keeps of a plan."""
    grammar = study.model_dump(mode="json", include=set(GRAMMAR))
    if isinstance(plan, AskedPlan):
        grammar["searcher"] = {"name": plan.source.name, "fingerprint": plan.source.fingerprint}
        grammar["search"] = study.search.model_dump(mode="json") if study.search is not None else None
    return {
        "schema_version": "1.0",
        "created_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "study_name": study.study_name,
        "study_design_hash": plan.study_design_hash,
        "inputs_hash": plan.inputs_hash,
        "n_experiments": len(plan) if isinstance(plan, Plan) else None,  # of a search the log tells
        "grammar": mask(grammar),
    }


def write_design(store: Store, design: Mapping[str, Any], generation: int = 1) -> bool:
    """Freeze a design as the run's n-th; `False` where another one is there already."""
    signed = {**design, "digest": digest(dict(design))}
    return store.create(_path(generation), json.dumps(signed, indent=1, ensure_ascii=False).encode())


def read_designs(store: Store) -> list[dict[str, Any]]:
    """Return a run's designs, the first one first; empty where there is none or one cannot be read."""
    found: list[dict[str, Any]] = []
    while True:
        try:
            known = json.loads(store.get(_path(len(found) + 1)))
        except FileNotFoundError:
            return found
        except ValueError:
            return []
        if not isinstance(known, dict) or known.pop("digest", None) not in (None, digest(known)):
            return []
        found.append(known)


def is_same(known: Mapping[str, Any], design: Mapping[str, Any]) -> bool:
    """Whether two designs are one: the same points, made of the same inputs."""
    return all(known.get(name) == design[name] for name in _IDENTITY)


def design_differences(known: Mapping[str, Any], design: Mapping[str, Any]) -> list[str]:
    """Say in a line each how a study differs from what a run was planned as."""
    found = list(_differences(known.get("grammar") or {}, design["grammar"], ""))
    lines = [line for line in found if not line.startswith(_NO_DIFFERENCE)]
    if not lines and any(line.startswith(_NO_DIFFERENCE[0]) for line in found):
        lines.append("what proposes the experiments was changed")
    if known.get("inputs_hash") != design["inputs_hash"]:
        lines.append("what the experiments read (models, scripts, prompts) has other contents than before")
    if not lines:
        lines.append("fields, models or rules of another version of Joulegrid give the same text another meaning")
    return lines


def source_differences(store: Store, study: StudyConfig) -> list[str]:
    """Show where the text of a study in Python differs from what a run keeps of it; empty for one in YAML."""
    if study.source_name != "study.py":
        return []
    try:
        before = store.get(study.source_name).decode().splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return []
    after = mask(study.source or "").splitlines()
    lines = list(unified_diff(before, after, "of the run", "of the study", n=0, lineterm=""))
    more = [f"… and {len(lines) - _LINES_SHOWN} lines more"] if len(lines) > _LINES_SHOWN else []
    return ["the file differs:", *(f"  {line[:_SHOWN]}" for line in lines[:_LINES_SHOWN]), *more] if lines else []


def _differences(before: Json, now: Json, path: str) -> Iterator[str]:
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*before, *now)):
            yield from _differences(before.get(name), now.get(name), f"{path}.{name}" if path else name)
        return
    yield f"{path.removeprefix('experiment.')}: {_said(before)} → {_said(now)}"


def _said(value: Json) -> str:
    if value is None:
        return "(nothing)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


def _path(generation: int) -> str:
    return "plan.json" if generation == 1 else f"plan-{generation:06d}.json"
