"""How a run stands, read from its store alone: no Ray, nothing is taken, nothing is written.

Counts come from the ledger (its newest snapshot and what was logged after), not from listing results. What a driver did
in the second before it was killed may not be in the log; the next driver finds it by its commit markers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from joulegrid.jobs.carbon.carbon_account import BudgetSpent, budget_told
from joulegrid.jobs.report.run_results import read_json
from joulegrid.jobs.search.asking import n_experiments
from joulegrid.jobs.state.lease import Lease, read_lease
from joulegrid.jobs.state.segments import replay
from joulegrid.jobs.state.verify import verified
from joulegrid.jobs.status.pace import Pace
from joulegrid.jobs.study.design import read_designs

if TYPE_CHECKING:
    from joulegrid.cluster.storage import Store
    from joulegrid.jobs.state.states import States
    from joulegrid.jsontypes import JsonMap

_ALL_CYCLES = 2**31


class Part(BaseModel):
    """A frozen part of the answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Driver(Part):
    """Who drives the run, or drove it last."""

    host: str
    pid: int
    alive: bool
    """Whether it may be at work: its lease is neither given back nor older than 30 s, and its process is there."""
    seen_at: str
    """When it renewed its lease; ISO 8601, UTC, by that host's clock."""
    seen_s_ago: float


class DamagedResult(Part):
    """A committed result whose bytes are not those that were committed; it is in no number of any report."""

    task: str
    """`{key}-c{cycle}`."""
    reason: str


class RunStatus(Part):
    """How a run stands. The six counts are those of the planned tasks: `n_tasks` is the sum of the other five."""

    run: str
    """The run's folder, or its `s3://` URL."""
    study_name: str | None
    study_design_hash: str | None
    state: str
    """`running`, `done`, `interrupted`, `stopped`, `drained`, `budget_spent`; `abandoned`: its driver is gone and said
    nothing."""
    n_tasks: int | None
    """Null until a driver has written how many there are."""
    n_cycles: int | None = None
    """Null where nobody has told; with `n_cycles: auto` those of the pilot, until it has decided."""
    n_cycles_most: int | None = None
    """With `n_cycles: auto`, until its pilot has decided: the most that there can be."""
    done: int
    failed: int
    skipped: int
    running: int
    pending: int | None
    failures: dict[str, int]
    """Failure class → failed tasks."""
    energy_j: dict[str, float]
    """Provenance → joules in the headline windows of the done tasks whose energy is known; kinds are never added up."""
    time_left_s: float | None
    """For what is left, at the pace of the run so far, gaps included; in its first ten minutes from the mean duration
    and the tasks that run now. Null where nobody works, or nothing has ended yet."""
    mean_task_s: float | None
    """Mean duration of the tasks that have ended."""
    driver: Driver | None
    """Null where no driver has left its name."""
    started_at: str | None
    written_at: str | None
    """When the manifest was last written."""
    duration_s: float | None
    """Seconds that all drivers have spent, as the manifest knows them."""
    unfenced: bool | None
    budget: BudgetSpent | None
    """What may be spent and what was, as of the manifest; null without a budget."""
    notes: list[str]
    """What drivers noted: breakers, damaged results that were run again."""
    damaged: list[DamagedResult] | None
    """What was found when every committed result was read and hashed again; null where nobody asked for that."""
    damaged_segments: list[str] = Field(default_factory=list)
    """Parts of the log that were changed after they were written; what they told is missing above."""

    @property
    def is_over(self) -> bool:
        """Whether nobody works on the run now."""
        return self.state != "running"


def is_run(store: Store) -> bool:
    """Whether a store's root is a run's folder."""
    return store.exists("plan.json") or store.exists("manifest.json")


def read_status(store: Store, *, verify: bool = False) -> RunStatus:
    """Read how a run stands; with `verify` every committed result is read and hashed again.

    Raises:
        StoreError: when the store cannot be read.
    """
    manifest, lease, found = read_json(store, "manifest.json"), read_lease(store), replay(store)
    designs, states = read_designs(store), found.states
    alive = lease is not None and lease.is_alive()
    told = [one for one in (states.n_cycles_decided, _n_cycles(store, manifest)) if one is not None]
    n_cycles = max(told, default=None)  # a run that was decided may have been given more cycles since
    counts = _counts(states, _n_experiments(designs, manifest, states), n_cycles)
    most = _number(manifest, "n_cycles_most") if states.n_cycles_decided is None else None
    state = _state(manifest, counts, alive=alive)
    if state == "done" and most is not None:  # the pilot is over, and its driver died before it had decided
        state = "abandoned"
    if state == "abandoned":
        _settle(store, states, counts)
    mean_task_s = states.seconds / states.n_timed if states.n_timed else None
    design = designs[-1] if designs else {}
    return RunStatus(
        run=store.url,
        study_name=_text(design, "study_name") or _text(manifest, "study_name"),
        study_design_hash=_text(design, "study_design_hash") or _text(manifest, "study_design_hash"),
        state=state,
        **counts,
        n_cycles=n_cycles,
        n_cycles_most=None if most is None else int(most),
        failures=states.failures(),
        energy_j=dict(states.joules),
        time_left_s=_time_left_s(manifest, counts, mean_task_s) if alive else None,
        mean_task_s=mean_task_s,
        driver=_driver(lease) if lease is not None and isinstance(lease.pid, int) else None,
        started_at=_text(manifest, "started_at"),
        written_at=_text(manifest, "written_at"),
        duration_s=_number(manifest, "duration_s"),
        unfenced=unfenced if isinstance(unfenced := manifest.get("unfenced"), bool) else None,
        budget=budget_told(manifest),
        notes=list(states.notes),
        damaged=_damaged(store, counts["done"]) if verify else None,
        damaged_segments=found.damaged,
    )


def _n_experiments(designs: list[dict[str, Any]], manifest: JsonMap, states: States) -> int | None:
    """A searcher's plan grows: the newest to be told is the largest."""
    told = [_number(one, "n_experiments") for one in (*designs[-1:], manifest)] + [float(n_experiments(states.asked))]
    return max((int(number) for number in told if number), default=None)


def _n_cycles(store: Store, manifest: JsonMap) -> int | None:
    """As the manifest says; a driver that died before it wrote one has left the study as it was run."""
    n_cycles = _number(manifest, "n_cycles")
    if n_cycles is not None:
        return int(n_cycles)
    try:
        execution = (yaml.safe_load(store.get("resolved.yaml")) or {}).get("execution") or {}
        return int(execution.get("n_cycles", 1))
    except (FileNotFoundError, yaml.YAMLError, AttributeError, TypeError, ValueError):
        return None


def _counts(states: States, n_experiments: int | None, n_cycles: int | None) -> dict[str, Any]:
    if n_experiments is not None and n_cycles is not None:
        return dict(states.counts(n_experiments, n_cycles))
    return {**states.counts(0, _ALL_CYCLES), "n_tasks": None, "pending": None}


def _state(manifest: JsonMap, counts: dict[str, Any], *, alive: bool) -> str:
    if alive:
        return "running"
    told = _text(manifest, "state") or "running"
    if told == "running" and counts["n_tasks"] and counts["done"] + counts["failed"] == counts["n_tasks"]:
        return "done"
    return "abandoned" if told == "running" else told


def _settle(store: Store, states: States, counts: dict[str, Any]) -> None:
    """Where nobody works nothing runs: what ran when the driver died is done if it has a marker, else pending."""
    ids = [states.state(at).task_id for at in states.with_status("running")]
    marked = sum(store.exists(f"commit/{task_id[:2]}/{task_id}") for task_id in ids if task_id)
    done = min(marked, counts["running"])
    counts["done"] += done
    if counts["pending"] is not None:
        counts["pending"] += counts["running"] - done
    counts["running"] = 0


def _time_left_s(manifest: JsonMap, counts: Mapping[str, int | None], mean_task_s: float | None) -> float | None:
    told = manifest.get("counts")
    ended = sum(_number(told, name) or 0 for name in ("done", "failed")) if isinstance(told, dict) else 0
    spent_s = _number(manifest, "duration_s")  # of the same moment as the manifest's counts
    return Pace(spent_s, int(ended), counts["running"] or 0, counts["pending"], mean_task_s).time_left_s()


def _text(of: Mapping[str, Any], name: str) -> str | None:
    """A file that was changed by hand shall cost its field, not the answer."""
    value = of.get(name)
    return value if isinstance(value, str) else None


def _number(of: Mapping[str, Any], name: str) -> float | None:
    value = of.get(name)
    return float(value) if isinstance(value, int | float) and 0 <= value < float("inf") else None


def _driver(lease: Lease) -> Driver:
    seen = datetime.fromtimestamp(lease.renewed_s, UTC)
    return Driver(
        host=lease.host,
        pid=lease.pid,
        alive=lease.is_alive(),
        seen_at=seen.isoformat(timespec="seconds"),
        seen_s_ago=round(max(0.0, time.time() - lease.renewed_s), 1),
    )


def _damaged(store: Store, done: int) -> list[DamagedResult]:
    """Hash everything again; a task that the log calls done must have a marker too."""
    found = verified(store)
    damaged = [DamagedResult(task=one.task, reason=one.reason) for one in found.damaged]
    missing = done - found.n_tasks
    if missing > 0:
        damaged.append(DamagedResult(task="unknown", reason=f"{missing} of the tasks that are done have no marker"))
    return damaged
