"""Cycle orders: each task once, Williams' balance, and what a seed decides."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegrid.jobs.plan.order import LATIN_SQUARE_LIMIT, Order, williams_row, williams_rows

KINDS = ("sequential", "interleaved", "shuffled", "reversed", "latin_square")


@given(st.sampled_from(KINDS), st.integers(1, 80), st.integers(1, 6), st.integers(0, 2**64))
def test_every_order_visits_each_experiment_in_each_cycle_exactly_once(
    kind: str, n: int, cycles: int, seed: int
) -> None:
    order = Order(kind, n, cycles, seed)
    visits = list(order)
    assert len(visits) == len(order) == n * cycles
    assert set(visits) == {(index, cycle) for index in range(n) for cycle in range(cycles)}
    assert visits == list(Order(kind, n, cycles, seed))


@given(st.sampled_from(KINDS[1:]), st.integers(1, 40), st.integers(1, 5))
def test_all_but_sequential_finish_a_cycle_before_the_next(kind: str, n: int, cycles: int) -> None:
    assert [cycle for _, cycle in Order(kind, n, cycles, 1)] == sorted(list(range(cycles)) * n)


@pytest.mark.parametrize("n", range(1, 14))
def test_williams_design_is_balanced_for_carry_over(n: int) -> None:
    rows = [williams_row(n, row) for row in range(williams_rows(n))]
    assert len(rows) == (n if n % 2 == 0 or n == 1 else 2 * n)
    assert all(sorted(row) == list(range(n)) for row in rows)
    pairs = Counter(pair for row in rows for pair in pairwise(row))
    times = 1 if n % 2 == 0 else 2
    expected = {(a, b): times for a in range(n) for b in range(n) if a != b}
    assert pairs == expected
    for position in range(n):  # and each experiment stands at each position equally often
        assert len(set(Counter(row[position] for row in rows).values())) == 1


def test_the_design_repeats_after_its_rows() -> None:
    assert williams_row(5, 10) == williams_row(5, 0)
    assert williams_row(4, 4) == williams_row(4, 0)


def test_sequential_interleaved_and_reversed_are_what_they_say() -> None:
    assert list(Order("sequential", 2, 2, 0)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert list(Order("interleaved", 2, 2, 0)) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert list(Order("reversed", 2, 3, 0)) == [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (1, 2)]


def test_shuffled_depends_on_the_seed_and_differs_between_cycles() -> None:
    order = Order("shuffled", 20, 2, 7)
    assert list(order.row(0)) != list(order.row(1))
    assert list(order.row(0)) != list(Order("shuffled", 20, 2, 8_000).row(0))


def test_an_unfinished_or_impossible_balance_is_said() -> None:
    assert Order("latin_square", 4, 4, 0).note is None
    assert Order("latin_square", 3, 6, 0).note is None
    assert "6 (or a multiple) would" in str(Order("latin_square", 3, 3, 0).note)
    assert "shuffled instead" in str(Order("latin_square", LATIN_SQUARE_LIMIT + 1, 4, 0).note)
    assert Order("shuffled", 3, 1, 0).note is None
