"""Which run a start goes on with, and what it says of that before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from joulegrid.jobs.loop.continuing import Choice
from joulegrid.jobs.loop.run import Run
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.upcoming import upcoming
from joulegrid.jobs.study.load import make_study
from tests.jobs.studies import run, study_of

pytestmark = pytest.mark.usefixtures("ray_here")
FAILS = "x = 0\ndef main():\n    return {'inverse': 1 / x}"
FRESH = Choice(fresh=True)


def said(mapping: dict[str, Any], choice: Choice | None = None) -> str:
    study = make_study(mapping)
    return upcoming(study, Plan(study), choice or Choice())


def test_an_unfinished_run_behind_a_finished_one_is_gone_on_with(tmp_path: Path) -> None:
    study = study_of(tmp_path, FAILS, [0, 1, 2])
    assert said(study).startswith("begins a run of its own in ")
    unfinished = run({**study, "execution": {"fail_fast": True}})
    assert said(study) == f"goes on with {unfinished.run}, 0 tasks done"
    finished = run({**study}, FRESH)
    name = Path(finished.run).name
    assert said(study).startswith(f"goes on with {unfinished.run}, 0 tasks done ({name} is finished: --retry-failed")
    assert said(study, FRESH).startswith("begins a run of its own in ")
    assert run(study).run == unfinished.run
    begun = said(study)  # now both are finished
    assert begun.startswith("begins a run of its own in ") and " is finished: --retry-failed" in begun
    assert finished.run in said(study, Choice(retry_failed=True))
    more = said({**study, "execution": {"n_cycles": 2}})
    assert more == f"goes on with {finished.run}, 2 tasks done"


def test_a_limit_below_what_was_asked_for_asks_for_nothing_more_and_counts_what_was(tmp_path: Path) -> None:
    from joulegrid.cluster.folder import FolderStore
    from joulegrid.jobs.plan.planning import plan_of
    from joulegrid.jobs.search.asking import Search
    from joulegrid.jobs.state.lease import Lease
    from joulegrid.jobs.state.ledger import Ledger
    from joulegrid.jobs.study.load import load_study

    text = "STUDY = {'model': 'tiny-lm', 'execution': {'max_experiments': 3, 'n_cycles': 2}}\n"
    text += "def config_gen():\n    for n in range(1, 9):\n        yield {'pytorch.batch_size': n}"
    (tmp_path / "study.py").write_text(text)
    study = load_study(tmp_path / "study.py")
    plan = plan_of(study)
    assert not isinstance(plan, Plan)
    search = Search(plan, plan.source.make())
    assert [search.next_index() for _ in range(4)] == [0, 1, 2, None]
    lowered = study.model_copy(update={"execution": study.execution.model_copy(update={"max_experiments": 2})})
    plan.study = lowered
    del plan.__dict__["limit"]
    store = FolderStore(tmp_path / "run", durable=False)
    held = Run(lowered, plan, "run", store, Ledger.open(store), Lease.of_this_process(1), "", False, True)
    assert (plan.limit, held.most_tasks, held.counts()["n_tasks"]) == (2, 6, 6)
