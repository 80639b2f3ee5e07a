"""The lanes' streams: every visit once, whole cycles to one lane, what is left spread evenly, stealing at the end."""

from __future__ import annotations

from collections import Counter
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegrid.jobs.loop.streams import Streams, balance_note, lane_stream
from joulegrid.jobs.plan.order import Order, williams_rows
from joulegrid.jobs.state.states import At

KINDS = ("sequential", "interleaved", "shuffled", "reversed", "latin_square")


@given(st.sampled_from(KINDS), st.integers(1, 7), st.integers(1, 7), st.integers(1, 5))
def test_the_lanes_together_make_every_visit_exactly_once(kind: str, n: int, cycles: int, n_lanes: int) -> None:
    order = Order(kind, n, cycles, 0)
    visits = [at for number in range(n_lanes) for at in lane_stream(order, number, n_lanes)]
    assert sorted(visits) == sorted(order)


@given(st.sampled_from(KINDS), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
def test_every_experiment_meets_every_lane_as_often(kind: str, n: int, rounds: int, n_lanes: int) -> None:
    order = Order(kind, n, rounds * n_lanes, 0)
    for number in range(n_lanes):
        assert set(Counter(index for index, _ in lane_stream(order, number, n_lanes)).values()) == {rounds}


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7])
def test_each_lane_works_through_a_whole_williams_design_where_the_cycles_allow_it(n: int) -> None:
    n_lanes, rows = 3, williams_rows(n)
    order = Order("latin_square", n, rows * n_lanes, 0)
    for number in range(n_lanes):
        by_cycle = groupby(lane_stream(order, number, n_lanes), key=lambda at: at[1])
        follows = Counter(pair for _, row in by_cycle for pair in pairwise(index for index, _ in row))
        assert len(follows) == n * (n - 1)
        assert len(set(follows.values())) == 1
    assert balance_note(order, n_lanes) is None
    assert "do not complete" in (balance_note(Order("latin_square", n, rows, 0), n_lanes) or "")


def test_what_is_final_is_left_out_and_every_visit_is_reserved_before_it_is_handed_out() -> None:
    reserved: set[At] = set()
    streams = Streams(
        Order("interleaved", 50, 3, 0), ["a", "b"], lambda at: at[0] % 2 == 0, lambda some: reserved.update(some)
    )
    seen = []
    while (at := streams.take("a")) is not None:
        assert at in reserved
        seen.append(at)
    assert sorted(seen) == sorted((index, cycle) for index in range(1, 50, 2) for cycle in range(3))
    assert len(set(seen)) == len(seen)


def test_a_lane_that_came_later_works_too() -> None:
    streams = Streams(Order("interleaved", 5, 1, 0), ["a"], lambda at: False, lambda some: None)
    assert streams.take("late") is not None


def test_a_million_visits_are_not_held_in_memory() -> None:
    streams = Streams(Order("interleaved", 1_000_000, 10, 0), ["a", "b"], lambda at: False, lambda some: None)
    assert [streams.take("a"), streams.take("b"), streams.take("a")] == [(0, 0), (0, 1), (1, 0)]
