"""What is in a run's folder: committed results, failed attempts, manifest. Reads only; decides nothing.

A result counts when its commit marker names the very bytes that lie there; whatever differs is damaged and is
told, never aggregated.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from joulegrid.actors.commit import task_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joulegrid.actors.result import ExperimentResult
    from joulegrid.cluster.storage import Store
    from joulegrid.jsontypes import JsonMap


_DAMAGED_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Damaged:
    """A committed result that cannot be used."""

    task: str
    """`{key}-c{cycle}`."""
    reason: str

    @property
    def key(self) -> str:
        """The experiment's key."""
        return self.task.rpartition("-c")[0]


@dataclass(frozen=True, slots=True)
class Located:
    """A result and the folder of the attempt inside the store."""

    result: ExperimentResult
    path: str

    @property
    def key(self) -> str:
        """The experiment's key."""
        return self.result.key


@dataclass(slots=True)
class RunResults:
    """The results of one run, read one at a time."""

    store: Store
    damaged: list[Damaged] = field(default_factory=list)
    """What the passes so far could not use, the first thousand."""

    def committed(self, prefix: str = "commit/") -> Iterator[Located | Damaged]:
        """Yield all that was committed in the order of the markers: those of one key follow one another."""
        for _, markers in groupby(self.store.list(prefix), key=task_of):
            yield self._first_sound(markers)

    def done(self, prefix: str = "commit/") -> Iterator[Located]:
        """Yield the committed results in the order of their markers; damaged ones are listed instead."""
        for found in self.committed(prefix):
            if isinstance(found, Located):
                yield found
            elif len(self.damaged) < _DAMAGED_KEPT and found not in self.damaged:
                self.damaged.append(found)

    def first_done(self, key: str) -> Located | None:
        """Return one committed result of an experiment: that of its first cycle that has any."""
        return next(self.done(f"commit/{key[:2]}/{key}-c"), None)

    def failed(self, tasks: list[dict[str, Any]]) -> Iterator[Located]:
        """Yield the result files that the failed ones among the manifest's tasks left; some left none."""
        from joulegrid.actors.result import ExperimentResult

        for task in tasks:
            if task.get("status") == "failed" and task.get("path"):
                try:
                    result = ExperimentResult.model_validate_json(self.store.get(f"{task['path']}/result.json"))
                except (FileNotFoundError, ValueError):
                    continue  # the manifest still tells why it failed
                if result.status == "failed":
                    yield Located(result, str(task["path"]))

    def _first_sound(self, markers: Iterator[str]) -> Located | Damaged:
        """Of one task's markers the first whose result is what was committed; they are more only after damage."""
        found = self._committed(next(markers))
        while isinstance(found, Damaged) and (marker := next(markers, None)) is not None:
            found = self._committed(marker)
        return found

    def _committed(self, marker: str) -> Located | Damaged:
        from joulegrid.actors.result import ExperimentResult  # 30 ms that a finished run's table does without

        task = task_of(marker)
        try:
            entry = json.loads(self.store.get(marker))
            path, sha256 = entry["path"].rstrip("/").removesuffix("/result.json"), entry["sha256"]
            data = self.store.get(f"{path}/result.json")
        except FileNotFoundError:
            return Damaged(task, "the result that its marker names is not there")
        except (ValueError, KeyError, TypeError, AttributeError):
            return Damaged(task, f"its marker {marker} cannot be read")
        if hashlib.sha256(data).hexdigest() != sha256:
            return Damaged(task, f"{path}/result.json has other bytes than were committed")
        try:
            result = ExperimentResult.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            return Damaged(task, f"{path}/result.json is not of this version's form: {place}: {first['msg']}")
        return Located(result, path) if result.status == "done" else Damaged(task, "a failed result was committed")


def read_json(store: Store, path: str) -> JsonMap:
    """Return the JSON object at a path of the store; an empty one where there is none or it is no object."""
    try:
        value = json.loads(store.get(path))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
