"""In which environments a run was measured: admitted when it begins, compared whenever it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from joulegrid.cluster.drift import differences
from joulegrid.cluster.storage import Store
from joulegrid.errors import PreFlightError
from joulegrid.jobs.loop.run import Run, now
from joulegrid.jsontypes import Json

PATH = "environments.json"


def admit(run: Run, found: Iterable[dict[str, Json]], *, allow_drift: bool) -> None:
    """Take note of the lanes' environments (fingerprints).

    Raises:
        PreFlightError: when the run has results of other environments, and drift is not allowed; nothing was begun.
    """
    known = _known(run.store)
    new = [one for one in found if one not in [entry["environment"] for entry in known]]
    new = [one for number, one in enumerate(new) if one not in new[:number]]
    if known and new and run.counts()["done"] and not allow_drift:
        raise PreFlightError(_refusal(run, known, new[0]))
    if not new:
        return
    if known and run.counts()["done"]:
        run.ledger.note(f"went on in another environment: {'; '.join(_nearest(known, new[0]))}")
    entries = [*known, *({"since": now(), "environment": one} for one in new)]
    run.store.put(PATH, json.dumps(entries, indent=1, ensure_ascii=False).encode())


def _known(store: Store) -> list[dict[str, Any]]:
    try:
        entries = json.loads(store.get(PATH))
        return [entry for entry in entries if isinstance(entry["environment"], dict)]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return []


def _refusal(run: Run, known: list[dict[str, Any]], new: dict[str, Json]) -> str:
    changes = "".join(f"\n  {line}" for line in _nearest(known, new))
    return (
        f"{run.store.url} has results of another environment:{changes}\n"
        "go back to it, add --allow-env-drift (the report then tells both apart), or --fresh for a run of its own"
    )


def _nearest(known: list[dict[str, Any]], new: dict[str, Json]) -> list[str]:
    return min((differences(entry["environment"], new) for entry in known), key=len)
