"""`n_cycles: auto`: a pilot is asked once how many cycles are needed; a restart comes to the same number."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegrid.errors import UsageError
from joulegrid.jobs.loop.continuing import Choice
from joulegrid.jobs.loop.opening import open_output
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.plan_view import plan_json, plan_text
from joulegrid.jobs.plan.planning import plan_of
from joulegrid.jobs.state.ledger import Ledger, read_states
from joulegrid.jobs.status.status import read_status
from joulegrid.jobs.status.status_view import status_lines
from joulegrid.jobs.study.auto_cycles import AutoCycles, decided, needed, repeated
from joulegrid.jobs.study.execution import ExecutionConfig
from joulegrid.jobs.study.load import Overrides, make_study
from joulegrid.student import student_t
from tests.jobs.studies import run, study_of

VALUES = st.lists(st.floats(0.1, 1e6), min_size=0, max_size=9)
TERMS = AutoCycles(half_width=0.02)


@given(st.lists(VALUES, max_size=6))
def test_the_decision_is_between_pilot_and_most_and_never_depends_on_the_order(experiments: list[list[float]]) -> None:
    found = decided(experiments, TERMS)
    assert TERMS.pilot <= found.n_cycles <= TERMS.most
    assert decided([list(reversed(values)) for values in reversed(experiments)], TERMS).n_cycles == found.n_cycles
    assert decided([*experiments, [5.0] * 5], TERMS).n_cycles == found.n_cycles


@given(st.lists(st.floats(1.0, 1.5), min_size=5, max_size=5, unique=True))
def test_with_that_many_cycles_the_pilots_spread_gives_the_width_that_was_asked_for(values: list[float]) -> None:
    spread = statistics.stdev(values) / statistics.fmean(values)
    n = needed(spread, 5, 0.02)
    assert student_t(4) * spread / math.sqrt(max(n, 1)) <= 0.02 * (1 + 1e-6)
    if n > 1:
        assert student_t(4) * spread / math.sqrt(n - 1) > 0.02 * (1 - 1e-6)


def test_failed_tasks_and_unknown_energies_have_no_values() -> None:
    assert decided([[1.0, 2.0], [], [0.0] * 5], TERMS).n_cycles == 5
    assert repeated([(None, 2.0), (3.0, 2.0), (4.0, 2.0)]) == [3.0, 4.0]
    assert repeated([(None, 2.0), (None, 2.5), (None, None)]) == [2.0, 2.5]


def test_a_number_of_cycles_on_the_command_line_takes_the_place_of_auto() -> None:
    fields = {"model": "tiny-lm", "execution": {"n_cycles": "auto", "auto_cycles": {"most": 8}}}
    for n_cycles in (3, 5):  # 5 is also the pilot's number
        execution = make_study(fields, Overrides(execution={"n_cycles": n_cycles})).execution
        assert (execution.n_cycles, execution.auto_cycles) == (n_cycles, None)
    with pytest.raises(UsageError, match="drop auto_cycles, or say n_cycles: auto"):
        make_study({**fields, "execution": {"n_cycles": 3, "auto_cycles": {}}})
    with pytest.raises(UsageError, match='n_cycles: given "Auto"; give a whole number of cycles, or the word auto'):
        make_study({**fields, "execution": {"n_cycles": "Auto"}})


def test_auto_is_a_pilot_in_random_order() -> None:
    execution = ExecutionConfig.model_validate({"n_cycles": "auto"})
    assert (execution.n_cycles, execution.most_cycles, execution.cycle_order) == (5, 15, "shuffled")
    assert ExecutionConfig.model_validate(execution.model_dump()) == execution
    wide = ExecutionConfig.model_validate({"n_cycles": "auto", "auto_cycles": {"pilot": 6, "most": 8}})
    assert (wide.n_cycles, wide.most_cycles) == (6, 8)


@pytest.mark.parametrize(
    ("execution", "message"),
    [
        ({"n_cycles": "often"}, "n_cycles"),
        ({"n_cycles": "auto", "cycle_order": "sequential"}, "random order"),
        ({"n_cycles": 3, "auto_cycles": {}}, "drop auto_cycles"),
        ({"n_cycles": "auto", "auto_cycles": {"pilot": 3}}, "pilot"),
        ({"n_cycles": "auto", "auto_cycles": {"pilot": 9, "most": 8}}, "more than most"),
        ({"n_cycles": "auto", "auto_cycles": {"halfwidth": 0.1}}, "half_width"),
        ({"n_cycles": "auto", "auto_cycles": 3}, "auto_cycles"),
    ],
)
def test_what_auto_cannot_be_is_refused(execution: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        make_study(study_of(tmp_path, execution=execution))


def test_a_search_cannot_have_auto_cycles(tmp_path: Path) -> None:
    search = {"sampler": "random", "budget": 3, "objectives": ["maximize double"]}
    with pytest.raises(UsageError, match="auto needs a grid"):
        plan_of(make_study(study_of(tmp_path, search=search, execution={"n_cycles": "auto"})))


def test_the_plan_says_what_may_come_after_the_pilot(tmp_path: Path) -> None:
    plan = Plan(make_study(study_of(tmp_path, execution={"n_cycles": "auto"})))
    assert "15 = 3 experiments × 5 cycles" in plan_text(plan) and "5 + up to 10 cycles" in plan_text(plan)
    assert plan_json(plan)["n_cycles_most"] == 15
    plan.lengthen(7)
    assert (plan.order.n_cycles, plan.study.execution.n_cycles) == (7, 7)


def auto(folder: Path, xs: list[int] | None = None) -> dict[str, Any]:
    """An experiment whose seconds never agree to a millionth: the pilot asks for all that it may."""
    execution = {"n_cycles": "auto", "isolation": "inline", "auto_cycles": {"most": 7, "half_width": 1e-6}}
    return study_of(folder, xs=xs or [1], execution=execution, power="none")


def decisions(store_url: str) -> list[int]:
    lines = [line for log in sorted(Path(store_url).glob("log/*")) for line in log.read_text().splitlines()]
    return [event["n_cycles"] for event in map(json.loads, lines) if event.get("event") == "cycles"]


@pytest.mark.usefixtures("ray_here")
def test_a_run_does_its_pilot_decides_once_and_does_the_rest(tmp_path: Path) -> None:
    result = run(auto(tmp_path))
    assert (result.counts.done, result.n_cycles) == (7, 7)
    (store,) = [root.child(name) for root in [open_output(make_study(auto(tmp_path)))] for name in root.folders()]
    assert decisions(result.run) == [7]
    cycles = {one.cycle for one in result.results}
    assert cycles == set(range(7))
    status = read_status(store)
    assert (status.state, status.n_cycles, status.n_cycles_most, status.n_tasks) == ("done", 7, None, 7)
    assert any("±0.00% needs" in note or "7 are the most" in note for note in status.notes)
    manifest = json.loads(store.get("manifest.json"))
    assert len(manifest["tasks"]) == 7 and manifest["n_cycles"] == 7


@pytest.mark.usefixtures("ray_here")
def test_a_restart_keeps_the_decision_and_a_pilot_without_one_is_asked(tmp_path: Path) -> None:
    pilot = auto(tmp_path)
    plain = {**pilot, "execution": {"n_cycles": 5, "cycle_order": "shuffled", "isolation": "inline"}}
    first = run(plain)  # all of the pilot, and no decision: as if the driver had died there
    store = open_output(make_study(plain)).child(Path(first.run).name)
    assert read_states(store).n_cycles_decided is None
    ledger = Ledger.open(store)
    ledger.cycles(6, "by an earlier driver")
    ledger.snapshot()
    second = run(pilot)
    assert (second.run, second.n_cycles, second.counts.done) == (first.run, 6, 6)
    assert decisions(second.run) == [6]


@pytest.mark.usefixtures("ray_here")
def test_what_extends_a_run_gets_as_many_cycles_as_its_pilot_had_decided(tmp_path: Path) -> None:
    first = run(auto(tmp_path))
    second = run(auto(tmp_path, [1, 2]), Choice(extend=True))
    assert (second.run, second.n_cycles, second.counts.done) == (first.run, 7, 14)
    assert decisions(second.run) == [7], "the pilot is asked once, and not of what came later"


@pytest.mark.usefixtures("ray_here")
def test_status_shows_the_pilot_and_what_may_follow(tmp_path: Path) -> None:
    study = auto(tmp_path, [1, 2])
    study["execution"]["fail_fast"] = True
    (tmp_path / "script.py").write_text("x = 0\ndef main():\n    assert x != 2\n    return {}\n")
    result = run(study)
    assert result.counts.failed and decisions(result.run) == []
    status = read_status(open_output(make_study(study)).child(Path(result.run).name))
    assert (status.n_cycles, status.n_cycles_most) == (5, 7)
    assert any("5 + up to 2 cycles" in line for line in status_lines([status]))
