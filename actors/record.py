"""From how a task's process ended to its `ExperimentResult`. What the process said of itself is read with suspicion."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ValidationError

from joulegrid.actors.ending import Ending, crash_message, failure_class_of
from joulegrid.actors.gate import Gate, Start
from joulegrid.actors.gpu_watch import GpuWatch
from joulegrid.actors.idle import IdleTerms
from joulegrid.actors.pricing import Price, differed, energy_per, window_of
from joulegrid.actors.result import (
    ExperimentResult,
    Failure,
    LaneRecord,
    Task,
    Timing,
    WindowResult,
)
from joulegrid.cases.contract import LaneView
from joulegrid.cluster.environment import Environment
from joulegrid.cluster.gpu_use import parents
from joulegrid.cluster.power.sensors.model import CoreWatts
from joulegrid.cluster.secrets import mask
from joulegrid.jsontypes import Json

LOG_TAIL = 8_000
REPORTABLE = ("app", "invalid", "import", "oom_host", "oom_device")
"""Classes of failure that a task may report of itself; all others are seen from outside."""

UNTOUCHED = ("invalid", "import", "cancelled")
"""Classes that stand whatever else happened on the GPUs: another try would end in the same way, or is not wanted."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is the same for every task of a run."""

    study_name: str
    run: str
    preload: tuple[str, ...]
    """Modules that a task's process finds imported."""
    isolation: Literal["zygote", "spawn", "inline"]
    study_yaml: str | None
    carbon_place: str | None = None
    temperature_gate: Gate | None = None
    baseline: IdleTerms | None = None
    """How idle power is measured; `None` not at all."""
    watts_per_core: CoreWatts | None = None
    """What the sampler models CPUs with; known here, a lane with no other source need not ask it."""

    @property
    def patience_s(self) -> float:
        """How long a lane may wait before a task's limit begins to run."""
        cool_s = self.temperature_gate.max_wait_s if self.temperature_gate else 0.0
        return cool_s + (self.baseline.patience_s if self.baseline else 0.0)


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """What one lane owns."""

    name: str
    node: str
    environment: Environment
    gpu_uuids: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    power_sources: tuple[str, ...] = ()
    marks: str = ""
    """Where a task's marks go: the node's sampler, by its abstract Unix address."""

    @property
    def device(self) -> Literal["cuda", "cpu"]:
        """`cuda` on a lane that owns a GPU, else `cpu`."""
        return "cuda" if self.gpu_uuids else "cpu"

    def view(self, experiment: dict[str, Json]) -> LaneView:
        """Return what a task of this experiment may see of the lane."""
        resources = experiment.get("resources") or {}
        gpus = self.gpu_uuids[: resources.get("gpus")]
        cpus = self.cpus[: resources.get("cpus")]
        return LaneView("cuda" if gpus else "cpu", gpus, cpus, self.power_sources)

    def idling(self, experiment: dict[str, Json], terms: IdleTerms | None) -> LaneView:
        """Return the same view with the time that the task holds still, where the lane's joules have a sensor."""
        view = self.view(experiment)
        idles = terms is not None and view.has_sensor
        return replace(view, idle_s=terms.loaded_s) if terms is not None and idles else view


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that has ended."""

    task: Task
    run: RunFacts
    lane: LaneFacts
    view: LaneView
    started_at: str
    ending: Ending
    watch: GpuWatch
    start: Start = Start()
    artifacts: tuple[str, ...] = ()

    @property
    def report(self) -> dict[str, Json]:
        """What the process wrote, or nothing."""
        return self.ending.report or {}

    @property
    def marks(self) -> list[dict[str, Json]]:
        """The closed windows of a task that is done."""
        marks: list[dict[str, Json]] = self.report.get("marks", []) if self.report.get("status") == "done" else []
        return marks

    @property
    def is_followed(self) -> bool:
        """Whether there is a power series; the model has none of a task inside the worker, which is no process."""
        sources = set(self.view.power_sources)
        return bool(sources - {"model"} if self.run.isolation == "inline" else sources)

    def result(self, price: Price) -> ExperimentResult:
        """Return the result; a report that no honest process writes is a failure like any other."""
        failure = self._failure()
        if failure is not None:
            return self._failed(failure)
        try:
            self._refuse_implausible()
            return self._done(price)
        except (ValidationError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            return self._failed(self._without_report("no_result", f"the process left a malformed report: {error}"))

    def _done(self, price: Price) -> ExperimentResult:
        work_of = self.report.get("work_of") or {}
        windows = [self._window(mark, price, work_of.get(mark["name"]) or {}) for mark in self.marks]
        headline, work = self.report["headline"], self.report["work"]
        if headline is not None and headline not in {window.name for window in windows}:
            raise ValueError(f"the headline {headline!r} names none of its windows")
        return ExperimentResult(
            **self._common(),
            status="done",
            effective=mask(self.report["effective"]),
            metrics=mask(self.report["metrics"]),
            windows=windows,
            headline=headline,
            work=work,
            energy_per=energy_per(windows, headline, work),
            differences=[differed(one, windows) for one in self.report.get("differences") or []],
            log_tail=self._tail(),
            timeseries="timeseries.parquet" if windows and self.is_followed else None,
        )

    def raw(self, price: Price) -> dict[str, Json] | None:
        """What a contaminated task reported, for its file; `None` where nothing was measured or all was quiet."""
        if self.watch.contaminated is None or self.report.get("status") != "done":
            return None
        try:
            self._refuse_implausible()
            windows = [self._window(mark, price, {}).model_dump(mode="json") for mark in self.marks]
        except (ValidationError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            windows = []
        foreign = None if self.watch.foreign is None else [one.model_dump() for one in self.watch.foreign]
        why = self.watch.contaminated
        return {"contaminated": why, "foreign": foreign, "windows": windows, "report": mask(self.report)}

    def _window(self, mark: dict[str, Json], price: Price, work: dict[str, float]) -> WindowResult:
        window, foreign = window_of(mark, price, work), self.watch.foreign
        pairs = None if foreign is None else [(one.gpu_uuid, one.pid) for one in foreign]
        return window.model_copy(update={"conditions": [one.with_foreign(pairs) for one in window.conditions]})

    def _refuse_implausible(self) -> None:
        """Raise `ValueError` for what cannot have happened between start and end as seen from outside."""
        before_ns = self.ending.ordered_ns
        for mark in self.marks:
            seconds = (mark["t1_ns"] - mark["t0_ns"]) / 1e9
            if not before_ns <= mark["t0_ns"] <= mark["t1_ns"] <= self.ending.ended_ns:
                raise ValueError(f"the window {mark['name']!r} lies outside the task's life, or overlaps another")
            if not 0.0 <= mark["cpu_s"] <= seconds * (os.cpu_count() or 1) * 1.1 + 1.0:
                raise ValueError(f"{mark['cpu_s']} CPU seconds cannot pass in a window of {seconds:.3f} s")
            if mark["repeats"] < 1 or any(
                not mark["t0_ns"] <= t_ns <= mark["t1_ns"] or n < 1 for t_ns, n in mark.get("done") or ()
            ):
                raise ValueError(f"the window {mark['name']!r} was repeated outside of itself")
            before_ns = mark["t1_ns"]
        counts = [*self.report["work"].values()]
        counts += [count for work in (self.report.get("work_of") or {}).values() for count in work.values()]
        counts += [one["count"] for one in self.report.get("differences") or []]
        if not all(0.0 < count < float("inf") for count in counts):
            raise ValueError("work counts must be positive and finite")

    def _failed(self, failure: Failure) -> ExperimentResult:
        return ExperimentResult(**self._common(), status="failed", failure=failure)

    def _common(self) -> dict[str, Json]:
        """The fields that done and failed results share."""
        task = self.task
        return {
            "study_name": self.run.study_name,
            "run": self.run.run,
            "study_yaml": self.run.study_yaml,
            "carbon_place": self.run.carbon_place,
            **{name: getattr(task, name) for name in ("key", "index", "cycle", "attempt")},
            "label": mask(task.label),
            "axes": mask(task.axes),
            "effective_config": mask(task.experiment),
            "workload_revision": task.revision,
            "inputs": task.fingerprints,
            "lane": self._lane_record(),
            "timing": self._timing(),
            "environment": self.lane.environment,
            "max_rss_bytes": self.ending.max_rss_bytes,
            "escaped_processes": self.ending.escaped,
            "teardown": "killed" if self.ending.killed and self.ending.report is not None else None,
            "gpu_bytes_left": self.watch.bytes_left,
            "artifacts": list(self.artifacts),
        }

    def _failure(self) -> Failure | None:
        """Return why the task has no numbers, or `None`; what befell its GPUs comes before what it says of itself."""
        failure = self._own_failure()
        if failure is not None and failure.failure_class in UNTOUCHED:
            return failure
        ended = failure is not None and self.ending.ended_ns > self.ending.ordered_ns  # else it was not begun
        told = f"; the task itself ended as {failure.failure_class}: {failure.message}" if failure and ended else ""
        if self.watch.contaminated is not None:
            return self._without_report("contaminated", self.watch.contaminated + told)
        if self.watch.lost is not None and failure is not None:
            return self._without_report("infra", self.watch.lost + told)
        return failure

    def _own_failure(self) -> Failure | None:
        """Return how the task failed as it and its process say. A report written before a hung end counts."""
        status = self.report.get("status")
        if status == "done":
            return None
        if status != "failed":
            return self._without_report(failure_class_of(self.ending), crash_message(self.ending))
        told: dict[str, Json] = self.report.get("failure") or {}
        try:
            if told["failure_class"] not in REPORTABLE:
                raise ValueError(f"a task cannot tell of itself that it failed by {told['failure_class']!r}")
            return Failure.model_validate({**mask(dict(told)), **self._end()})
        except (ValidationError, TypeError, ValueError, KeyError) as error:
            return self._without_report("no_result", f"the process left a malformed report: {error}")

    def _without_report(self, failure_class: str, message: str) -> Failure:
        return Failure.model_validate({"failure_class": failure_class, "message": message, **self._end()})

    def _end(self) -> dict[str, Json]:
        return {"exit_code": self.ending.exit_code, "signal": self.ending.signal, "log_tail": self._tail()}

    def _tail(self) -> str:
        return mask(self.ending.log[-LOG_TAIL:])

    def _timing(self) -> Timing:
        ordered_ns, entered_ns = self.ending.ordered_ns, self.report.get("entered_ns")
        return Timing(
            started_at=self.started_at,
            duration_s=(self.ending.ended_ns - ordered_ns) / 1e9,
            start_s=(entered_ns - ordered_ns) / 1e9 if isinstance(entered_ns, int) else None,
            unix_offset_ns=time.time_ns() - time.monotonic_ns(),
        )

    def _lane_record(self) -> LaneRecord:
        return LaneRecord(
            lane=self.lane.name,
            node=self.lane.node,
            device="cuda" if self.view.device == "cuda" else "cpu",
            gpu_uuids=list(self.view.gpu_uuids),
            cpus=list(self.view.cpus),
            isolation=self.run.isolation,
            **self._gpu_fields(),
        )

    def _gpu_fields(self) -> dict[str, Json]:
        """What the lane's record says of its GPUs; nothing on a CPU lane."""
        if not self.view.gpu_uuids:
            return {}
        mig = self.view.gpu_uuids[0].startswith("MIG-")
        return {
            "mig": mig,
            "parent_gpu_uuids": list(parents(self.view.gpu_uuids)) if mig else [],
            "foreign": self.watch.foreign,
            "gpu_memory_before_bytes": self.watch.memory_before,
            "gpu_utilisation_before": self.watch.utilisation_before,
            "start_celsius": self.start.celsius,
            "gate_wait_s": self.start.wait_s,
            "gate_expired": self.start.expired,
        }
