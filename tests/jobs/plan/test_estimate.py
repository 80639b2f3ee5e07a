"""What a plan costs at least: the gaps of an order, and durations in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegrid.jobs.plan.estimate import duration_words, least_gaps_s
from joulegrid.jobs.plan.order import Order
from joulegrid.jobs.study.execution import ExecutionConfig


@given(
    st.sampled_from(["sequential", "interleaved", "reversed", "latin_square"]),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([0.0, 2.0, 5.0]),
    st.sampled_from([0.0, 3.0]),
)
def test_gaps_of_a_long_order_are_a_lower_bound(
    kind: str, n: int, cycles: int, config_s: float, cycle_s: float
) -> None:
    execution = ExecutionConfig(n_cycles=cycles, config_gap_seconds=config_s, cycle_gap_seconds=cycle_s)
    walked = least_gaps_s(Order(kind, n, cycles, 0), execution)
    assert walked <= (n * cycles - 1) * max(config_s, cycle_s)
    assert walked >= cycles * (n - 1) * config_s if kind != "sequential" else walked >= 0


def test_a_long_order_is_estimated_without_walking_it() -> None:
    execution = ExecutionConfig(n_cycles=2, config_gap_seconds=1, cycle_gap_seconds=5)
    assert least_gaps_s(Order("interleaved", 100_000, 2, 0), execution) == 2 * 99_999 + 5
    assert least_gaps_s(Order("sequential", 100_000, 2, 0), execution) == 100_000 * 5 + 99_999 * 5


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599.6, "1 h 00 min"), (7260, "2 h 01 min")],
)
def test_a_duration_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words
