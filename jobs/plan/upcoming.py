"""Which run a start of a study would go on with, in words; nothing is taken and nothing written."""

from __future__ import annotations

from joulegrid.cluster.storage import StoreError
from joulegrid.jobs.loop.continuing import Choice, Found, to_continue
from joulegrid.jobs.loop.opening import open_output
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.state.ledger import read_states
from joulegrid.jobs.study.design import design_of
from joulegrid.jobs.study.study import StudyConfig


def upcoming(study: StudyConfig, plan: Plan | AskedPlan, choice: Choice) -> str:
    """Say which run a start would go on with, without taking it; raises what the start would raise of the study.

    A store that cannot be looked into from here is no fault of the study: it is said, and no more.
    """
    root = open_output(study)
    try:
        found = Found() if choice.fresh else to_continue(study, root, design_of(study, plan), choice, plan)
    except StoreError as error:
        return f"unknown: {error}"
    newer = f" ({passed_words(found.finished)})" if found.finished else ""
    if found.name is None:
        return f"begins a run of its own in {root.url}{newer}"
    store = root.child(found.name)
    states = read_states(store)
    done = states.counts(0, study.execution.cycles(states.n_cycles_decided)[0])["done"]
    return f"goes on with {store.url}, {done} tasks done{newer}"


def passed_words(finished: str) -> str:
    """Say of a finished run what can still be done with it."""
    return f"{finished} is finished: --retry-failed tries its failed tasks again, a larger n_cycles adds cycles"
