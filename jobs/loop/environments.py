"""In which environments a run was measured: admitted when it begins, compared whenever it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from joulegrid.cluster.drift import differences, fingerprint
from joulegrid.cluster.environment import capture
from joulegrid.cluster.storage import Store
from joulegrid.errors import PreFlightError
from joulegrid.jobs.loop.run import Run, now
from joulegrid.jsontypes import Json

PATH = "environments.json"
_OF_LANES = frozenset({"gpus", "driver", "cuda"})
"""What is known only when it is known which GPUs the lanes own."""


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


def refuse_drift_here(run: Run, *, allow_drift: bool) -> None:
    """Refuse a run that is to go on upon this machine and has results of another environment, before Ray is started.

    What depends on which GPUs the lanes will own is left to `admit`.
    """
    known = [] if allow_drift or not run.counts()["done"] else _known(run.store)
    if not known:
        return
    here = fingerprint(capture(run.study.folder), [])
    if _nearest(known, here, _OF_LANES):
        raise PreFlightError(_refusal(run, known, here, _OF_LANES))


def _known(store: Store) -> list[dict[str, Any]]:
    try:
        entries = json.loads(store.get(PATH))
        return [entry for entry in entries if isinstance(entry["environment"], dict)]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return []


def _refusal(run: Run, known: list[dict[str, Any]], new: dict[str, Json], unasked: frozenset[str] = frozenset()) -> str:
    changes = "".join(f"\n  {line}" for line in _nearest(known, new, unasked))
    return (
        f"{run.store.url} has results of another environment:{changes}\n"
        "go back to it, add --allow-env-drift (the report then tells both apart), or --fresh for a run of its own"
    )


def _nearest(known: list[dict[str, Any]], new: Mapping[str, Json], unasked: frozenset[str] = frozenset()) -> list[str]:
    """Say how the likest of the known environments differs, in what was asked of both."""
    asked = {name: value for name, value in new.items() if name not in unasked}
    befores = ({name: one for name, one in entry["environment"].items() if name not in unasked} for entry in known)
    return min((differences(before, asked) for before in befores), key=len)
