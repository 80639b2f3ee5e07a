"""Finding the run that a study goes on with."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from joulegrid.cluster.storage import Store
from joulegrid.errors import PreFlightError, UsageError
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.search.asking import has_ended, is_over, n_experiments
from joulegrid.jobs.state.lease import was_released
from joulegrid.jobs.state.ledger import read_states
from joulegrid.jobs.state.segments import Replay, replay
from joulegrid.jobs.state.states import States
from joulegrid.jobs.study.design import design_differences, is_same, read_designs, source_differences
from joulegrid.jobs.study.study import StudyConfig


@dataclass(frozen=True, slots=True)
class Choice:
    """How a start relates to earlier runs."""

    fresh: bool = False
    retry_failed: bool = False
    extend: bool = False
    """Add the study's new experiments to its newest run."""
    allow_env_drift: bool = False
    """Go on although hardware or software is not what the run began with."""


@dataclass(frozen=True, slots=True)
class Found:
    """Which run a start goes on with."""

    name: str | None = None
    """`None`: it begins one."""
    finished: str | None = None
    """A newer run of the same design, or the newest, of which nothing is left to do."""
    replay: Replay | None = None
    """What the log of the run `name` says."""


def to_continue(
    study: StudyConfig, root: Store, design: dict[str, Any], choice: Choice, plan: Plan | AskedPlan
) -> Found:
    """Find the newest run of this design of which something is left to do.

    Behind a finished one only a run counts that was itself left unfinished, and one of another design is passed over.
    """
    finished: str | None = None
    of_study = re.compile(rf"{re.escape(study.study_name)}_\d{{8}}-")
    for name in sorted(filter(of_study.match, root.folders(f"{study.study_name}_")), reverse=True):
        store = root.child(name)
        designs = read_designs(store)
        if not designs and (store.exists("plan.json") or next(iter(store.list("log/")), None) is not None):
            raise PreFlightError(
                f"{store.url}/plan.json (or a later plan-….json) is damaged or gone: what that run was planned as "
                "cannot be told, nor what is left of it. Put the file back, or move that folder away, or begin a run "
                "of its own with --fresh"
            )
        if not designs or designs[-1].get("study_name") != study.study_name:
            continue
        if not is_same(designs[-1], design):
            if choice.extend and finished is None:
                return Found(name, replay=replay(store))
            if finished is None:
                _refuse_changed(study, store, designs[-1], design)
            continue
        if finished is not None and _was_finished(store):
            continue
        found = replay(store)
        if _is_unfinished(study, store, found.states, design, plan) or choice.retry_failed:
            return Found(name, finished, found)
        finished = finished or name
    return Found(None, finished)


def _is_unfinished(
    study: StudyConfig, store: Store, states: States, design: dict[str, Any], plan: Plan | AskedPlan
) -> bool:
    """Whether something of a run is left to do; `UsageError` where it has more cycles than the study asks for."""
    n_cycles, undecided = study.execution.cycles(states.n_cycles_decided)
    counts = states.counts(_n_experiments(design, states), n_cycles)
    unfinished = counts["done"] + counts["failed"] < counts["n_tasks"] or undecided or not was_released(store)
    if unfinished and states.n_cycles > n_cycles:
        raise UsageError(
            f"{store.url} is unfinished and has {states.n_cycles} cycles, but execution.n_cycles is "
            f"{study.execution.n_cycles}; give {states.n_cycles} or more, or begin a run of its own with --fresh"
        )
    return unfinished or (isinstance(plan, AskedPlan) and not is_over(plan, states.asked))


def _was_finished(store: Store) -> bool:
    """Whether a run's own last driver left nothing to do, whatever the study asks for now."""
    try:
        state = json.loads(store.get("manifest.json"))["state"]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return False
    return state == "done" and was_released(store)


def _refuse_changed(study: StudyConfig, store: Store, known: dict[str, Any], design: dict[str, Any]) -> None:
    """An unfinished run of a design that has changed since is not passed over in silence."""
    states = read_states(store)
    counts = states.counts(_n_experiments(known, states), study.execution.cycles(states.n_cycles_decided)[0])
    left = counts["n_tasks"] - counts["done"] - counts["failed"]
    goes_on = known.get("n_experiments") is None and not has_ended(states.asked)
    if not (left or goes_on) or not counts["done"] + counts["failed"]:
        return
    changes = "".join(f"\n  {line}" for line in [*design_differences(known, design), *source_differences(store, study)])
    more = ", and more to ask for" if goes_on else ""
    raise UsageError(
        f"{store.url} has {left} of {counts['n_tasks']} tasks left{more}, but the study was changed since:{changes}\n"
        "put it back to go on, add --extend where experiments were only added, or --fresh for a run of its own"
    )


def _n_experiments(design: dict[str, Any], states: States) -> int:
    """How many experiments a run has; of a search that is told by the log of asks."""
    planned = design.get("n_experiments")
    return int(planned) if planned is not None else n_experiments(states.asked)
