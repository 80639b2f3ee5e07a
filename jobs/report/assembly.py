"""A `StudyResult` out of a run's folder, in one pass over its results.

Writes nothing. What is done is told by the commit markers; the manifest tells what failed and what is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from joulegrid.jobs.report.hardware import hardware_line
from joulegrid.jobs.report.quantity import counted
from joulegrid.jobs.report.run_results import Damaged, RunResults, read_json
from joulegrid.jobs.report.summary import EnergyKind, FailedTask, Summary, energy_kind, headline_window
from joulegrid.jobs.study_result import (
    Counts,
    EnergyTotal,
    SkippedPoints,
    State,
    StudyResult,
    TaskFailure,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from joulegrid.actors.result import ExperimentResult
    from joulegrid.cluster.power.energy import Energy
    from joulegrid.cluster.storage import Store

_FAILURES_KEPT = 100
_HARDWARE_KEPT = 20
DISTURBED_SHARE = 0.15
"""Above this part of the cores' time, work of others is told of; driver, Ray and sampler need a few percent."""


@dataclass(slots=True)
class _Total:
    energy_j: float = 0.0
    low_j: float | None = 0.0
    high_j: float | None = 0.0
    n_windows: int = 0

    def add(self, energy: Energy) -> None:
        self.n_windows += 1
        self.energy_j += energy.energy_j or 0.0
        self.low_j = None if self.low_j is None or energy.low_j is None else self.low_j + energy.low_j
        self.high_j = None if self.high_j is None or energy.high_j is None else self.high_j + energy.high_j


@dataclass(slots=True)
class Gathering:
    """What one pass over the results keeps."""

    summary: Summary = field(default_factory=Summary)
    totals: dict[EnergyKind, _Total] = field(default_factory=dict)
    hardware: dict[str, None] = field(default_factory=dict)
    n_disturbed: int = 0
    """Results whose headline window shared its cores."""
    worst_share: float = 0.0
    n_done: int = 0
    last_cycle: int = -1

    def add(self, result: ExperimentResult) -> None:
        """Take one done result; constant memory for each experiment."""
        self.n_done += 1
        self.last_cycle = max(self.last_cycle, result.cycle)
        self.summary.add(result)
        share = foreign_share(result)
        self.n_disturbed += share > DISTURBED_SHARE
        self.worst_share = max(self.worst_share, share)
        if len(self.hardware) < _HARDWARE_KEPT:
            self.hardware.setdefault(hardware_line(result))
        for window in result.windows or []:
            for energy in (window.energy, *window.beside):
                self.totals.setdefault(energy_kind(energy), _Total()).add(energy)

    def energy(self) -> list[EnergyTotal]:
        """Return the joules by kind, known kinds first."""
        ordered = sorted(self.totals.items(), key=lambda item: (item[0][0] is None, str(item[0])))
        return [_energy_total(kind, total) for kind, total in ordered]


def assemble(store: Store) -> StudyResult:
    """Return the study's result from what is committed in the run's folder now, finished or not."""
    manifest = read_json(store, "manifest.json")
    plan = read_json(store, "plan.json")
    tasks: list[dict[str, Any]] = [task for task in manifest.get("tasks") or [] if isinstance(task, dict)]
    found, gathering = RunResults(store), Gathering()
    for located in found.done():
        gathering.add(located.result)
    failures = [_failure(task) for task in tasks if task.get("status") == "failed"]
    axes = {located.result.key: located.result.axes for located in found.failed(tasks)}
    for failure in failures:
        gathering.summary.add_failed(_failed_task(failure, axes.get(failure.key, {})))
    rows = gathering.summary.rows()
    return StudyResult(
        study_name=_either("study_name", manifest, plan) or store.url.rstrip("/").rpartition("/")[2],
        run=store.url,
        study_design_hash=_either("study_design_hash", manifest, plan),
        state=_state(manifest.get("state")),
        counts=_counts(manifest, tasks, gathering.n_done, len(found.damaged)),
        n_experiments=_either("n_experiments", manifest, plan) or _distinct(tasks, len({row.key for row in rows})),
        n_cycles=_either("n_cycles", manifest, plan) or max([gathering.last_cycle, *_cycles(tasks)]) + 1,
        cycle_order=_either("cycle_order", manifest, plan),
        started_at=manifest.get("started_at"),
        ended_at=manifest.get("ended_at"),
        duration_s=_duration_s(manifest),
        energy=gathering.energy(),
        skipped=[point for entry in _either("skipped", plan, manifest) or [] for point in _skipped(entry)],
        n_duplicates=_either("n_duplicates", plan, manifest) or 0,
        summary=rows,
        failures=failures[:_FAILURES_KEPT],
        unfenced=bool(manifest.get("unfenced")),
        hardware=list(gathering.hardware),
        notes=[*map(str, manifest.get("notes") or []), *_damage_notes(found.damaged), *_disturbance_notes(gathering)],
    )


def foreign_share(result: ExperimentResult) -> float:
    """Return which part of the lane's core time others took in the headline window; 0 where it is not known."""
    window = headline_window(result)
    if window is None or window.other_cpu_s is None or not result.lane.cpus or window.seconds <= 0:
        return 0.0
    return window.other_cpu_s / (window.seconds * len(result.lane.cpus))


def _disturbance_notes(gathering: Gathering) -> list[str]:
    if not gathering.n_disturbed:
        return []
    shared = f"{counted(gathering.n_disturbed, 'task')} shared the cores with other work, which took up to"
    effect = "of them in the headline window: times and CPU joules are less certain than their spread says"
    return [f"{shared} {gathering.worst_share:.0%} {effect}"]


def _either(name: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Any:
    value = first.get(name)
    return second.get(name) if value is None else value


def _state(given: object) -> State:
    for state in get_args(State):
        if given == state:
            return state  # type: ignore[no-any-return]  # get_args is untyped
    return "interrupted"


def _counts(manifest: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], done: int, damaged: int) -> Counts:
    told = manifest.get("counts") or {}

    def told_or_counted(status: str) -> int:
        return int(told.get(status, sum(task.get("status") == status for task in tasks)))

    failed, skipped = told_or_counted("failed"), told_or_counted("skipped")
    n_tasks = int(_either("n_tasks", told, manifest) or len(tasks) or done + failed + skipped + damaged)
    pending = max(0, n_tasks - done - failed - skipped - damaged)
    return Counts(n_tasks=n_tasks, done=done, failed=failed, skipped=skipped, pending=pending, damaged=damaged)


def _failure(task: Mapping[str, Any]) -> TaskFailure:
    inner = task.get("failure")
    failure: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    key = str(task.get("key", ""))
    return TaskFailure(
        index=int(task.get("index", -1)),
        key=key,
        label=str(task.get("label") or key[:8]),
        cycle=int(task.get("cycle", 0)),
        attempt=task.get("attempt"),
        failure_class=str(_either("failure_class", task, failure) or "unknown"),
        message=str(_either("message", task, failure) or "no message was kept"),
        path=task.get("path"),
    )


def _failed_task(failure: TaskFailure, axes: Mapping[str, Any]) -> FailedTask:
    return FailedTask(failure.index, failure.key, failure.label, failure.failure_class, axes)


def _skipped(entry: object) -> list[SkippedPoints]:
    if not isinstance(entry, dict) or "reason" not in entry:
        return []
    return [
        SkippedPoints(
            reason=str(entry["reason"]), count=int(entry.get("count", 1)), example=str(entry.get("example", ""))
        )
    ]


def _energy_total(kind: EnergyKind, total: _Total) -> EnergyTotal:
    provenance, source, scope = kind
    if provenance is None:
        return EnergyTotal(provenance=None, source=None, scope=None, energy_j=None, n_windows=total.n_windows)
    return EnergyTotal(
        provenance=provenance,
        source=source,
        scope=scope,
        energy_j=total.energy_j,
        low_j=total.low_j,
        high_j=total.high_j,
        n_windows=total.n_windows,
    )


def _distinct(tasks: Sequence[Mapping[str, Any]], otherwise: int) -> int:
    return len({task.get("key") for task in tasks}) or otherwise


def _cycles(tasks: Sequence[Mapping[str, Any]]) -> list[int]:
    return [int(task.get("cycle", 0)) for task in tasks]


def _duration_s(manifest: Mapping[str, Any]) -> float | None:
    told = manifest.get("duration_s")
    if isinstance(told, int | float):
        return float(told)
    try:
        started, ended = (datetime.fromisoformat(manifest[name]) for name in ("started_at", "ended_at"))
        return (ended - started).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None


def _damage_notes(damaged: Sequence[Damaged]) -> list[str]:
    if not damaged:
        return []
    shown = "; ".join(f"{one.task}: {one.reason}" for one in damaged[:5])
    more = f"; and {len(damaged) - 5} more" if len(damaged) > 5 else ""
    return [f"{counted(len(damaged), 'committed result')} damaged and left out of every number: {shown}{more}"]
