"""The failed tasks of a run, as its manifest tells of them: all by class, the first thousands by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from joulegrid.jobs.report.summary import FailedTask
from joulegrid.jobs.study_result import TaskFailure

if TYPE_CHECKING:
    from joulegrid.jobs.report.run_results import RunResults
    from joulegrid.jsontypes import Json

FAILURES_KEPT = 100


class FailedTasks:
    """Failed tasks by experiment; one whose result was committed after all does not count as failed.

    The manifest lists every task of a small run; of a large one the first failures only, and all by class.
    """

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        """Take a manifest as `manifest_file.sound` leaves it."""
        found = [task_failure(task) for task in manifest.get("tasks", ()) if task.get("status") == "failed"]
        self._by_class = Counter(one.failure_class for one in found)
        self._by_class |= Counter(manifest.get("failures_by_class", {}))
        self._by_key: dict[str, list[TaskFailure]] = {}
        for one in found:
            self._by_key.setdefault(one.key, []).append(one)
        self._listed = {(one.key, one.cycle): one for one in found}
        self.n_listed = len(found)
        self.n_committed = 0
        """Of the listed ones, how many were committed after all."""

    def take(self, key: str, committed: set[int]) -> list[TaskFailure]:
        """Return an experiment's failed tasks; `committed` are the cycles that have a valid result."""
        listed = self._by_key.pop(key, [])
        late = [one for one in listed if one.cycle in committed]
        self.n_committed += len(late)
        self._by_class.subtract(one.failure_class for one in late)
        for one in late:
            del self._listed[one.key, one.cycle]
        return [one for one in listed if one.cycle not in committed]

    def without_result(self, found: RunResults) -> Iterator[FailedTask]:
        """Yield the failed tasks of the experiments that were not asked for; reads what axes they had."""
        for key in list(self._by_key):
            tasks = self.take(key, set())
            axes = self._axes(tasks, found)
            for task in tasks:
                yield FailedTask(task.index, key, task.label, task.failure_class, axes)

    def first(self) -> list[TaskFailure]:
        """Return the first hundred in the order of the manifest, once all results were seen."""
        return list(islice(self._listed.values(), FAILURES_KEPT))

    @property
    def by_class(self) -> dict[str, int]:
        """All failed tasks by class."""
        return {name: count for name, count in sorted(self._by_class.items()) if count > 0}

    def _axes(self, tasks: list[TaskFailure], found: RunResults) -> dict[str, Json]:
        """The axes of one experiment, from the first result that a failed task of it left."""
        paths: list[dict[str, Any]] = [{"status": "failed", "path": task.path} for task in tasks if task.path]
        first = next(found.failed(paths), None)
        return first.result.axes if first is not None else {}


def task_failure(task: Mapping[str, Any]) -> TaskFailure:
    """Return the failed task that an entry of a manifest tells of."""
    failure: Mapping[str, Any] = task.get("failure", {})
    key = str(task.get("key", ""))
    return TaskFailure(
        index=int(task.get("index", -1)),
        key=key,
        label=str(task.get("label") or key[:8]),
        cycle=int(task.get("cycle", 0)),
        attempt=task.get("attempt"),
        failure_class=str(task.get("failure_class") or failure.get("failure_class") or "unknown"),
        message=str(task.get("message") or failure.get("message") or "no message was kept"),
        path=task.get("path"),
    )
