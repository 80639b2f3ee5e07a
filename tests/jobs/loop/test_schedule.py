"""The schedule: each visit once, gaps per lane, retries by class, breakers, fail-fast, the time that is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.actors.outcome import Outcome
from joulegrid.jobs.loop.schedule import BUNDLES_AFTER, LARGEST_BUNDLE, Rest, Schedule, Visit, gap, may_bundle
from joulegrid.jobs.loop.streams import Streams
from joulegrid.jobs.plan.order import Order
from joulegrid.jobs.state.states import At
from joulegrid.jobs.study.execution import ExecutionConfig


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


def schedule(n: int = 3, cycles: int = 2, lanes: tuple[str, ...] = ("a",), **execution: Any) -> Schedule:
    config = ExecutionConfig(n_cycles=cycles, **execution)
    finished: frozenset[At] = execution.pop("finished", frozenset())
    order = Order(config.cycle_order, n, cycles, 0)
    return Schedule(Streams(order, lanes, finished.__contains__, lambda visits: None), config)


def visit(found: object) -> Visit:
    assert isinstance(found, Visit), found
    return found


def fail(plan: Schedule, lane: str, failure: str, now_s: float) -> str:
    return plan.record(outcome(visit(plan.next(now_s, lane)), lane, failure), now_s)


@settings(max_examples=60)
@given(st.data())
def test_each_visit_is_handed_out_exactly_once_however_lanes_interleave(data: st.DataObject) -> None:
    n, cycles, lanes = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    names = tuple(f"lane{number}" for number in range(lanes))
    settings_ = {
        "config_gap_seconds": data.draw(st.sampled_from([0, 3])),
        "cycle_gap_seconds": data.draw(st.sampled_from([0, 7])),
        "cycle_order": data.draw(st.sampled_from(["sequential", "interleaved", "shuffled", "latin_square"])),
    }
    plan = schedule(n, cycles, names[: data.draw(st.integers(1, lanes))], **settings_)
    running: dict[str, Visit] = {}
    handed: list[tuple[int, int]] = []
    now_s = 0.0
    while len(handed) < n * cycles or running:
        lane = data.draw(st.sampled_from(names))
        if lane in running:
            assert plan.record(outcome(running.pop(lane), lane), now_s) == "final"
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
    assert visit(plan.next(21.0, "a", skip_gap=True)).cycle == 1


def test_a_gap_on_one_lane_never_delays_another() -> None:
    plan = schedule(4, 1, ("a", "b"), config_gap_seconds=100)
    plan.record(outcome(visit(plan.next(0.0, "a")), "a"), 1.0)
    assert isinstance(plan.next(2.0, "a"), Rest)
    assert isinstance(plan.next(2.0, "b"), Visit)


def test_no_gap_is_kept_within_the_same_experiment_and_cycle() -> None:
    config = ExecutionConfig(config_gap_seconds=10, cycle_gap_seconds=30)
    assert gap(config, (1, 1), (1, 1))[0] == 0
    assert gap(config, (1, 1), (2, 1))[0] == 10
    assert gap(config, (1, 1), (1, 2))[0] == 30


@pytest.mark.parametrize(
    ("failure", "tries"),
    [("infra", 4), ("contaminated", 4), ("oom_host", 2), ("app", 1), ("timeout", 1), ("crash", 1), ("invalid", 1)],
)
def test_each_class_is_tried_again_as_often_as_its_policy_says(failure: str, tries: int) -> None:
    plan = schedule(1, 1, circuit_breaker=None)
    verdicts = [fail(plan, "a", failure, float(attempt)) for attempt in range(tries)]
    assert verdicts == ["again"] * (tries - 1) + ["final"]
    assert plan.next(99.0, "a") is None


def test_a_study_may_set_the_policy_of_a_class() -> None:
    plan = schedule(1, 1, max_retries={"app": 2, "infra": 0})
    assert [fail(plan, "a", "app", 0.0) for _ in range(3)] == ["again", "again", "final"]
    assert fail(schedule(1, 1, max_retries={"infra": 0}), "a", "infra", 0.0) == "final"


def test_a_task_that_its_lane_failed_goes_to_another_lane_first() -> None:
    plan = schedule(1, 1, ("a", "b"))
    assert plan.next(0.0, "b") is not None
    plan = schedule(2, 1, ("a", "b"))
    mine, other = visit(plan.next(0.0, "a")), visit(plan.next(0.0, "b"))
    assert plan.record(outcome(mine, "a", "infra"), 1.0) == "again"
    assert isinstance(plan.next(2.0, "a"), Rest)
    plan.record(outcome(other, "b"), 3.0)
    assert plan.next(3.0, "b") == Visit(mine.index, mine.cycle, 1)


def test_a_cancelled_task_is_put_back_and_burns_no_try() -> None:
    plan = schedule(1, 1)
    assert fail(plan, "a", "cancelled", 0.0) == "put_back"
    assert not plan.breakers.notes


def test_fail_fast_hands_out_nothing_after_the_first_failure() -> None:
    plan = schedule(3, 1, fail_fast=True)
    fail(plan, "a", "app", 0.0)
    assert plan.next(1.0, "a") is None
    assert plan.stopped is not None
    assert "fail_fast" in plan.stopped


BREAK = {"lane_failures": 2, "family_failures": 3, "study_failures": 4, "cooldown_seconds": 60}


def test_a_lane_that_fails_in_a_row_cools_is_probed_and_then_quarantined_while_others_go_on() -> None:
    plan = schedule(20, 1, ("a", "b"), circuit_breaker=BREAK, max_retries={"infra": 0, "contaminated": 9})
    assert isinstance(plan.next(0.0, "b"), Visit)
    fail(plan, "a", "contaminated", 1.0)
    fail(plan, "a", "contaminated", 2.0)
    assert plan.next(3.0, "a") == Rest(62.0, "quarantined until a probe")
    assert isinstance(plan.next(3.0, "b"), Visit)
    fail(plan, "a", "contaminated", 63.0)
    assert plan.breakers.quarantined() == ["a"]
    assert plan.next(1e6, "a") is None
    assert isinstance(plan.next(1e6, "b"), Visit)
    assert any("quarantined" in note for note in plan.breakers.notes)


def test_a_good_probe_closes_the_breaker_again() -> None:
    plan = schedule(20, 1, circuit_breaker=BREAK, max_retries={"contaminated": 9})
    fail(plan, "a", "contaminated", 1.0)
    fail(plan, "a", "contaminated", 2.0)
    plan.record(outcome(visit(plan.next(62.0, "a"))), 63.0)
    assert isinstance(plan.next(64.0, "a"), Visit)


def test_when_every_lane_is_quarantined_the_rest_is_given_up() -> None:
    plan = schedule(20, 1, circuit_breaker={**BREAK, "cooldown_seconds": 0}, max_retries={"infra": 9})
    for now_s in range(3):
        fail(plan, "a", "infra", float(now_s))
    assert plan.next(9.0, "a") is None
    assert (plan.stopped, plan.gave_up) == ("every lane is quarantined", True)


def test_a_study_that_fails_in_a_row_is_given_up_after_one_probe_and_says_so() -> None:
    plan = schedule(20, 1, circuit_breaker={**BREAK, "family_failures": 99})
    for now_s in range(4):
        fail(plan, "a", "app", float(now_s))
    assert plan.next(4.0, "a") == Rest(63.0, "the study cools down")
    fail(plan, "a", "app", 64.0)
    assert plan.gave_up
    assert plan.next(1e6, "a") is None
    assert "the study" in (plan.stopped or "")


def test_only_one_probe_is_out_at_a_time() -> None:
    plan = schedule(20, 1, ("a", "b"), circuit_breaker={**BREAK, "family_failures": 99})
    for now_s in range(4):
        fail(plan, "a", "app", float(now_s))
    assert isinstance(plan.next(70.0, "a"), Visit)
    assert isinstance(plan.next(70.0, "b"), Rest)


def test_a_family_that_fails_in_a_row_is_left_out_and_the_other_families_go_on() -> None:
    plan = schedule(12, 1, circuit_breaker={**BREAK, "study_failures": 99})
    plan.family_of = plan.breakers.family_of = lambda index: "bad" if index < 8 else "good"
    seen: list[int] = []
    now_s = 0.0
    while (found := plan.next(now_s, "a")) is not None:
        if isinstance(found, Visit):
            seen.append(found.index)
            plan.record(outcome(found, "a", "app" if found.index < 8 else None), now_s)
        now_s += 1.0 if isinstance(found, Visit) else max(1.0, found.until_s - now_s)
    assert seen == [0, 1, 2, 8, 9, 10, 11, 3]
    assert [skip.visit.index for skip in plan.skipped] == [4, 5, 6, 7]


def test_nothing_is_begun_that_would_not_be_done_by_the_deadline() -> None:
    plan = schedule(9, 1)
    plan.deadline_s = 100.0
    assert isinstance(plan.next(0.0, "a"), Visit)
    slow = Outcome(**{**{f: getattr(outcome(Visit(0, 0)), f) for f in Outcome.__slots__}, "duration_s": 40.0})
    plan.record(slow, 40.0)
    assert isinstance(plan.next(59.0, "a"), Visit)
    assert plan.next(61.0, "a") is None
    assert plan.out_of_time


def test_a_lane_that_is_gone_leaves_its_work_to_the_others() -> None:
    plan = schedule(6, 1, ("a", "b"), config_gap_seconds=50)
    plan.record(outcome(visit(plan.next(0.0, "a")), "a"), 1.0)
    assert isinstance(plan.next(2.0, "a"), Rest)
    plan.drop("a")
    seen = 0
    now_s = 2.0
    while (found := plan.next(now_s, "b")) is not None:
        seen += isinstance(found, Visit)
        if isinstance(found, Visit):
            plan.record(outcome(found, "b"), now_s)
        now_s += 100.0
    assert seen == 5


def bundling(**execution: Any) -> Schedule:
    plan = schedule(100, 1, ("a", "b"), **execution)
    plan.bundles = may_bundle(plan.execution)
    return plan


def short(plan: Schedule, number: int = BUNDLES_AFTER, seconds: float = 0.001) -> None:
    for _ in range(number):
        plan.record(replace(outcome(visit(plan.next(0.0, "a"))), duration_s=seconds), 0.0)


def test_only_tasks_that_were_seen_to_be_tiny_are_ordered_several_at_once() -> None:
    plan = bundling()
    assert plan.at_once() == 1
    short(plan)
    assert plan.at_once() == LARGEST_BUNDLE
    short(plan, seconds=1.0)
    assert plan.at_once() == 1


@pytest.mark.parametrize("execution", [{"fail_fast": True}, {"config_gap_seconds": 1}, {"cycle_gap_seconds": 1}])
def test_nothing_is_ordered_together_where_something_stands_between_two_tasks(execution: dict[str, Any]) -> None:
    assert not may_bundle(ExecutionConfig(**execution))


def test_after_a_failure_tasks_are_ordered_one_by_one_until_one_is_done() -> None:
    plan = bundling()
    short(plan)
    fail(plan, "b", "app", 0.0)
    assert plan.at_once() == 1
    plan.record(replace(outcome(visit(plan.next(0.0, "b")), "b"), duration_s=0.001), 0.0)
    assert plan.at_once() > 1


def test_what_a_lane_gives_back_is_its_next_and_burns_no_try() -> None:
    plan = bundling()
    short(plan)
    bundle = [visit(plan.next(0.0, "a")) for _ in range(4)]
    assert plan.record(outcome(bundle[0]), 0.0) == "final"
    assert plan.record(outcome(bundle[1], failure="app"), 0.0) == "final"
    for given_back in bundle[2:]:
        ended = replace(outcome(given_back, failure="cancelled"), is_given_back=True)
        assert plan.record(ended, 0.0) == "put_back"
    assert plan.at_once() == 1
    following = [visit(plan.next(0.0, "a")) for _ in range(3)]
    assert [one.index for one in following[:2]] == [one.index for one in bundle[2:]]
    assert following[2].index not in [one.index for one in bundle]


def test_what_a_lane_gives_back_before_it_is_gone_is_done_by_the_others() -> None:
    plan = bundling()
    short(plan)
    mine = visit(plan.next(0.0, "a"))
    plan.record(replace(outcome(mine, failure="cancelled"), is_given_back=True), 0.0)
    plan.drop("a")
    assert visit(plan.next(0.0, "b")).index == mine.index
