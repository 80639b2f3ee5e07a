"""The schedule: each visit once, gaps per lane, attempts, fail-fast."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.actors.result import Outcome
from joulegrid.jobs.order import Order
from joulegrid.jobs.schedule import INFRA_ATTEMPTS, Rest, Schedule, Visit, gap
from joulegrid.jobs.study import ExecutionConfig


def outcome(visit: Visit, lane: str = "a", failure: Any = None) -> Outcome:
    return Outcome(
        task_id=f"{visit.index}-c{visit.cycle}",
        index=visit.index,
        cycle=visit.cycle,
        attempt=visit.attempt,
        status="failed" if failure else "done",
        lane=lane,
        path="",
        sha256=None,
        size=0,
        duration_s=1.0,
        failure_class=failure,
    )


def schedule(n: int = 3, cycles: int = 2, **execution: Any) -> Schedule:
    config = ExecutionConfig(n_cycles=cycles, **execution)
    return Schedule(iter(Order("interleaved", n, cycles, 0)), config)


def visit(found: object) -> Visit:
    assert isinstance(found, Visit)
    return found


@settings(max_examples=60)
@given(st.data())
def test_each_visit_is_handed_out_exactly_once_however_lanes_interleave(data: st.DataObject) -> None:
    n, cycles, lanes = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    gaps = {
        "config_gap_seconds": data.draw(st.sampled_from([0, 3])),
        "cycle_gap_seconds": data.draw(st.sampled_from([0, 7])),
    }
    plan = schedule(n, cycles, **gaps)
    running: dict[str, Visit] = {}
    handed: list[tuple[int, int]] = []
    now_s = 0.0
    while len(handed) < n * cycles or running:
        lane = data.draw(st.sampled_from([f"lane{number}" for number in range(lanes)]))
        if lane in running:
            assert plan.record(outcome(running.pop(lane), lane), now_s)
        else:
            found = plan.next(now_s, lane)
            if isinstance(found, Visit):
                handed.append((found.index, found.cycle))
                running[lane] = found
        now_s += 1.0
    assert sorted(handed) == sorted((index, cycle) for index in range(n) for cycle in range(cycles))
    assert plan.next(now_s + 1e6, "lane0") is None


def test_a_lane_rests_between_experiments_and_longer_between_cycles() -> None:
    plan = schedule(2, 2, config_gap_seconds=10, cycle_gap_seconds=30)
    first = visit(plan.next(0.0, "a"))
    plan.record(outcome(first), 5.0)
    rest = plan.next(6.0, "a")
    assert rest == Rest(15.0, "gap")
    assert plan.next(14.9, "a") == rest
    second = visit(plan.next(15.0, "a"))
    plan.record(outcome(second), 20.0)
    assert plan.next(21.0, "a") == Rest(50.0, "cycle gap")


def test_a_gap_on_one_lane_never_delays_another() -> None:
    plan = schedule(4, 1, config_gap_seconds=100)
    plan.record(outcome(visit(plan.next(0.0, "a")), "a"), 1.0)
    assert isinstance(plan.next(2.0, "a"), Rest)
    assert visit(plan.next(2.0, "b")) == Visit(1, 0)
    assert isinstance(plan.next(2.0, "a"), Rest)
    assert visit(plan.next(2.0, "c")) == Visit(2, 0)
    assert visit(plan.next(101.0, "a")) == Visit(3, 0)


def test_the_same_experiment_again_needs_no_config_gap() -> None:
    config = ExecutionConfig(n_cycles=2, config_gap_seconds=10)
    assert gap(config, (0, 0), (0, 1)) == (0.0, "cycle gap")
    assert gap(config, (0, 0), (1, 0)) == (10.0, "gap")


def test_infrastructure_faults_are_tried_again_up_to_three_attempts() -> None:
    plan, attempts = schedule(1, 1), []
    while isinstance(found := plan.next(0.0, "a"), Visit):
        attempts.append(found.attempt)
        final = plan.record(outcome(found, failure="infra"), 0.0)
        assert final == (len(attempts) == INFRA_ATTEMPTS)
    assert attempts == [0, 1, 2]


def test_what_the_measured_thing_did_is_never_tried_again() -> None:
    for failure in ("app", "timeout", "oom_device", "crash", "invalid", "no_result"):
        plan = schedule(1, 1)
        assert plan.record(outcome(visit(plan.next(0.0, "a")), failure=failure), 0.0)
        assert plan.next(0.0, "a") is None


def test_fail_fast_stops_after_exactly_one_failure() -> None:
    plan = schedule(4, 1, fail_fast=True)
    plan.record(outcome(visit(plan.next(0.0, "a"))), 0.0)
    running = visit(plan.next(0.0, "b"))
    plan.record(outcome(visit(plan.next(0.0, "a")), failure="app"), 0.0)
    assert plan.next(0.0, "a") is None
    assert plan.stopped is not None
    assert "fail_fast" in plan.stopped
    assert plan.record(outcome(running, "b"), 1.0)
    assert plan.next(2.0, "b") is None


def test_fail_fast_waits_for_the_last_attempt_at_an_infrastructure_fault() -> None:
    plan = schedule(2, 1, fail_fast=True)
    for attempt in range(INFRA_ATTEMPTS):
        assert plan.stopped is None
        found = visit(plan.next(0.0, "a"))
        assert found == Visit(0, 0, attempt)
        plan.record(outcome(found, failure="infra"), 0.0)
    assert plan.stopped is not None


def test_finished_visits_are_left_out_and_attempts_count_on() -> None:
    order = iter(Order("interleaved", 2, 1, 0))
    plan = Schedule(order, ExecutionConfig(), frozenset({(0, 0)}), {(1, 0): 2})
    assert plan.next(0.0, "a") == Visit(1, 0, 2)
    assert plan.next(0.0, "a") is None
