"""Budgets: pure counting, the schedule that heeds them, and what is refused before a run begins."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.actors.attempt import outcome_of
from joulegrid.actors.outcome import Outcome, Spent
from joulegrid.actors.result import Task
from joulegrid.cluster.carbon.config import CarbonConfig
from joulegrid.cluster.carbon.footprint import Accounting
from joulegrid.cluster.carbon.still import Given
from joulegrid.errors import UsageError
from joulegrid.jobs.carbon.budget import Budget
from joulegrid.jobs.carbon.spending import Spending
from joulegrid.jobs.loop.schedule import Schedule, Visit
from joulegrid.jobs.loop.streams import Streams
from joulegrid.jobs.plan.order import Order
from joulegrid.jobs.study.execution import ExecutionConfig
from joulegrid.jobs.study.load import make_study
from tests.jobs.report.results import Made, done, failed, folder_of, measured, no_energy, run_folder


def ended(visit: Visit, lane: str, spent: tuple[Spent, ...], status: Any = "done", failure: Any = None) -> Outcome:
    return Outcome(
        task_id=f"{visit.index}-c{visit.cycle}",
        index=visit.index,
        cycle=visit.cycle,
        attempt=visit.attempt,
        status=status,
        lane=lane,
        path="",
        sha256=None,
        size=0,
        duration_s=1.0,
        failure_class=failure,
        spent=spent,
    )


def joules(energy_j: float | None, provenance: str | None = "measured") -> tuple[Spent, ...]:
    return (Spent(1_772_450_000, provenance, energy_j),)


def spending(energy_j: float | None = None, carbon_g: float | None = None, **carbon: Any) -> Spending:
    return Spending(Budget(energy_j, carbon_g), Accounting(CarbonConfig(**carbon), Given(360.0)))


def plan_of(n: int, cycles: int, lanes: tuple[str, ...], budget: Budget) -> Schedule:
    config = ExecutionConfig(n_cycles=cycles)
    order = Order(config.cycle_order, n, cycles, 0)
    return Schedule(Streams(order, lanes, lambda at: False, lambda visits: None), config, budget=budget)


@settings(max_examples=80)
@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 4), st.floats(1.0, 60.0), st.integers(0, 2**32))
def test_nothing_is_begun_once_the_budget_is_spent_and_little_is_spent_beyond_it(
    n: int, cycles: int, n_lanes: int, limit: float, seed: int
) -> None:
    chance = random.Random(seed)
    lanes = tuple(f"lane{number}" for number in range(n_lanes))
    counter = spending(limit)
    plan = plan_of(n, cycles, lanes, counter.budget)
    running: dict[str, Visit] = {}
    costs: list[float] = []
    asked_in_vain: set[str] = set()
    while len(asked_in_vain) < n_lanes or running:
        lane = chance.choice(lanes)
        if lane in running:
            costs.append(chance.uniform(0.0, 10.0))
            outcome = ended(running.pop(lane), lane, joules(costs[-1]))
            counter.take(outcome)
            plan.record(outcome, 0.0)
            continue
        was_over = sum(costs) >= limit
        found = plan.next(0.0, lane)
        if isinstance(found, Visit):
            assert not was_over
            running[lane] = found
        elif found is None:
            asked_in_vain.add(lane)
    assert counter.budget.spent_j == pytest.approx(sum(costs))
    assert sum(costs) < limit + 10.0 * n_lanes
    if len(costs) < n * cycles:
        assert plan.over_budget and "energy_budget_j" in (plan.stopped or "")
    else:
        assert len(costs) == n * cycles


@given(st.lists(st.tuples(st.sampled_from(["measured", "modelled"]), st.floats(0, 1e6)), max_size=20))
def test_the_order_of_attempts_does_not_matter_and_kinds_are_told_apart(parts: list[tuple[str, float]]) -> None:
    forward, backward = Budget(1.0), Budget(1.0)
    for kind, energy_j in parts:
        forward.spend({kind: energy_j}, energy_j / 2)
    for kind, energy_j in reversed(parts):
        backward.spend({kind: energy_j}, energy_j / 2)
    assert forward.joules == pytest.approx(backward.joules)
    assert (forward.over is None) == (backward.over is None)
    assert forward.joules.keys() == {kind for kind, _ in parts}


def test_grams_are_those_of_the_facility_and_stop_a_schedule() -> None:
    counter = spending(carbon_g=1.0, pue=2.0, intensity_g_per_kwh=360.0)
    counter.take(ended(Visit(0, 0), "a", joules(4_999.0)))
    assert counter.budget.grams == pytest.approx(0.9998) and counter.budget.over is None
    counter.take(ended(Visit(1, 0), "a", joules(2.0, "modelled")))
    assert "carbon_budget_g: 1 g are spent (4,999 J measured, 2 J modelled, 1.000 g)" in (counter.budget.over or "")


def test_failed_attempts_count_and_unknown_ones_are_said() -> None:
    counter = spending(energy_j=100.0)
    counter.take(ended(Visit(0, 0), "a", joules(60.0), "failed", "contaminated"))
    counter.take(ended(Visit(0, 0, 1), "a", (), "failed", "timeout"))
    assert counter.told() == {
        "energy_budget_j": 100.0,
        "carbon_budget_g": None,
        "spent_j": {"measured": 60.0},
        "spent_g": None,
        "n_unknown": 1,
        "over": None,
    }
    counter.take(ended(Visit(0, 0, 2), "a", joules(40.0)))
    assert "1 attempt of unknown energy" in (counter.budget.over or "")


def test_a_done_task_of_unknown_energy_ends_the_run_that_has_a_budget() -> None:
    counter = spending(energy_j=100.0)
    counter.take(ended(Visit(0, 0), "a", joules(None, None)))
    assert "energy of 0-c0 is unknown" in (counter.budget.over or "")


SCRIPT: dict[str, Any] = {"workload": "script", "script": "x.py"}


@pytest.mark.parametrize(
    ("execution", "power", "told"),
    [
        ({"energy_budget_j": 5}, "none", "power: none"),
        ({"carbon_budget_g": 5}, "model", "nothing says where the power is drawn"),
        ({"carbon_budget_g": 5, "carbon": {"zone": "Atlantis"}}, "model", "no zone 'Atlantis'"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(execution: dict[str, Any], power: str, told: str) -> None:
    study = make_study({**SCRIPT, "execution": execution, "power": power})
    with pytest.raises(UsageError, match=told):
        Spending.of(study)


@pytest.mark.parametrize("budget", [{"energy_budget_j": 0}, {"carbon_budget_g": -1}, {"energy_budget_j": "much"}])
def test_a_budget_is_a_positive_number(budget: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="execution"):
        make_study({**SCRIPT, "execution": budget})


def test_a_study_without_a_budget_counts_nothing() -> None:
    assert Spending.of(make_study(SCRIPT)) is None


def test_earlier_starts_are_counted_from_the_store_contaminated_attempts_too(tmp_path: Path) -> None:
    first = done(Made(energy=measured(500.0)))  # windows of 50 J and 500 J, and 80 J of a modelled CPU beside
    killed = failed(Made(index=1), "timeout")
    foreign = failed(Made(index=2), "contaminated").model_copy(update={"artifacts": ["contaminated.json"]})
    store = run_folder(tmp_path, [first, killed, foreign])
    raw = {"windows": [window.model_dump(mode="json") for window in first.windows or []]}
    store.put(f"{folder_of(foreign)}/contaminated.json", json.dumps(raw).encode())
    store.put("results/xx/other/result.json", b"{")
    counter = spending(energy_j=1_000.0)
    counter.recall(store)
    assert counter.budget.joules == pytest.approx({"measured": 1_100.0, "modelled": 160.0})
    assert counter.budget.n_unknown == 2 and "1,000 J are spent" in (counter.budget.over or "")


def test_attempts_that_were_cut_short_and_left_nothing_stay_unknown(tmp_path: Path) -> None:
    counter = spending(energy_j=1_000.0)
    counter.lose(2)
    store = run_folder(tmp_path, [done(Made(energy=measured(5.0)))], budget=counter.told())
    resumed = spending(energy_j=1_000.0)
    resumed.recall(store)
    assert resumed.told()["n_unknown"] == 2 and "2 attempts of unknown energy" in resumed.budget.words()


def test_an_outcome_tells_the_joules_of_all_windows_by_the_hour() -> None:
    result = done(Made(energy=measured(500.0), seconds=10.0))
    decode = (result.windows or [])[-1]
    offset_ns = 3_600 * 10**9 * 500_000 - decode.t0_ns - 4 * 10**9  # the hour ends four seconds after its begin
    timing = result.timing.model_copy(update={"unix_offset_ns": offset_ns})
    task = Task(0, 0, 0, result.key, "", {}, {}, {}, {})
    spent = outcome_of(task, result.model_copy(update={"timing": timing}), "results/x", b"").spent
    told = {(one.unix_s, one.provenance): one.energy_j for one in spent}
    before, after = 3_600 * 499_999, 3_600 * 500_000
    assert told == pytest.approx(
        {(before, "measured"): 250.0, (after, "measured"): 300.0, (before, "modelled"): 32.0, (after, "modelled"): 48.0}
    )
    unknown = outcome_of(task, done(Made(energy=no_energy())), "results/x", b"").spent
    assert [one.energy_j for one in unknown] == [None, None]
