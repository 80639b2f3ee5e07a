"""A permutation computed value by value: every number once, any n, no pattern that a design would notice."""

from __future__ import annotations

import random
import time
import tracemalloc
from itertools import islice, pairwise
from statistics import correlation, fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.jobs.plan.order import SHUFFLED_LISTS, Order
from joulegrid.jobs.plan.permutation import Permutation


@settings(deadline=None)
@given(st.integers(0, 700), st.integers(0, 2**64))
def test_every_number_occurs_once(n: int, seed: int) -> None:
    order = Permutation(n, seed)
    assert sorted(order) == list(range(n))
    assert list(order) == [order[position] for position in range(n)] == list(Permutation(n, seed))
    assert list(order[1:5]) == list(order)[1:5]


def test_positions_are_counted_like_a_lists() -> None:
    order = Permutation(10, 1)
    assert order[-1] == list(order)[9]
    with pytest.raises(IndexError):
        order[10]


def test_neither_position_nor_neighbour_nor_seed_predicts_a_value() -> None:
    n = 20_000
    one, other = list(Permutation(n, 7)), list(Permutation(n, 8))
    limit = 4 / n**0.5  # four standard deviations of a correlation of independent numbers
    assert abs(correlation(one, range(n))) < limit
    assert abs(correlation(one[:-1], one[1:])) < limit
    assert abs(correlation(one, other)) < limit
    assert abs(fmean(abs(a - b) for a, b in pairwise(one)) / n - 1 / 3) < 0.01  # of two uniform numbers


@pytest.mark.parametrize("low", [0, 500_000, 999_000])
def test_a_stretch_of_a_large_order_is_spread_over_all_experiments(low: int) -> None:
    found = list(Permutation(1_000_000, 3)[low : low + 1000])
    tenths = [sum(value // 100_000 == part for value in found) for part in range(10)]
    assert min(tenths) > 60  # 100 expected, standard deviation 9.5
    assert len(set(found)) == 1000


def test_a_cycle_of_ten_million_experiments_begins_at_once_and_takes_no_memory() -> None:
    started = time.monotonic()
    tracemalloc.start()
    first = list(islice(Order("shuffled", 10_000_000, 3, 5), 1000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000  # a list would take 400 MB
    assert len(set(first)) == 1000
    assert time.monotonic() - started < 5


def test_up_to_a_hundred_thousand_the_order_is_that_of_pythons_shuffle() -> None:
    expected = list(range(SHUFFLED_LISTS))
    random.Random(12).shuffle(expected)
    assert list(Order("shuffled", SHUFFLED_LISTS, 3, 10).row(2)) == expected
    assert isinstance(Order("shuffled", SHUFFLED_LISTS + 1, 3, 10).row(2), Permutation)
    assert isinstance(Order("latin_square", SHUFFLED_LISTS + 1, 3, 10).row(2), Permutation)
