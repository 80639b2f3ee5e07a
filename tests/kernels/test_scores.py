"""fast_p, geometric mean, score against the roof: by hand, and what must hold for any study."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.kernels.scores import Judged, best_of_each_case, roof_score, scores


def kernel(case: str, *speedups: float | None, candidate: str = "k") -> list[Judged]:
    """One part a speed-up, of equal weight; 0 stands for one that did not pass."""
    return [
        Judged(case, candidate, 1.0, speedup != 0, speedup or None, None if not speedup else 0.5)
        for speedup in speedups
    ]


def test_the_score_is_a_half_at_the_baseline_and_one_at_the_roof() -> None:
    assert roof_score(2.0, 2.0, 1.0) == 0.5
    assert roof_score(1.0, 2.0, 1.0) == 1.0
    assert roof_score(0.5, 2.0, 1.0) == 1.0
    assert roof_score(3.0, 2.0, 1.0) == pytest.approx(1 / 3)
    assert roof_score(1.0, 1.0, 1.0) is None


def test_shapes_count_by_their_weight_and_kernels_alike() -> None:
    judged = [
        Judged("norm", "k", 0.75, True, 2.0, 0.8),
        Judged("norm", "k", 0.25, True, 0.5, 0.4),
        Judged("scan", "k", 1.0, True, 1.2, 0.6),
    ]
    found = scores(judged)
    assert found.fast == {1.0: (0.75 + 1) / 2, 1.1: (0.75 + 1) / 2, 1.5: 0.375, 2.0: 0.0}
    assert found.geometric_mean is not None and found.roof_score is not None
    log = (0.75 * math.log(2) + 0.25 * math.log(0.5) + math.log(1.2)) / 2
    assert found.geometric_mean.value == pytest.approx(math.exp(log))
    assert found.roof_score.value == pytest.approx((0.7 + 0.6) / 2)


def test_a_wrong_kernel_is_slow_and_in_no_mean_of_speed() -> None:
    found = scores([*kernel("norm", 2.0), *kernel("scan", 0)])
    assert found.fast[1.0] == 0.5 and found.n_passed == 1
    assert found.geometric_mean is not None and found.geometric_mean.value == pytest.approx(2.0)
    assert found.roof_score is not None and found.roof_score.value == 0.25


def test_what_passed_without_a_time_is_told_and_counts_nowhere() -> None:
    found = scores([*kernel("norm", 2.0), *kernel("scan", None)])
    assert found.n_untimed == 1 and found.fast[1.5] == 1.0
    only = scores(kernel("scan", None))
    assert only.fast == {} and only.geometric_mean is None


def test_one_case_has_no_interval_and_many_have_one_around_the_value() -> None:
    one = scores(kernel("norm", 2.0)).geometric_mean
    assert one is not None and one.low is None
    many = scores([part for place in range(8) for part in kernel(f"case{place}", 1.0 + place / 4)]).geometric_mean
    assert many is not None and many.low is not None and many.high is not None
    assert many.low < many.value < many.high


def test_of_each_case_the_best_that_passed_everywhere_is_taken() -> None:
    judged = [*kernel("norm", 3.0, 0, candidate="hit and miss"), *kernel("norm", 1.5, 1.5, candidate="steady")]
    assert {one.candidate for one in best_of_each_case(judged)} == {"steady"}


parts = st.lists(
    st.builds(
        lambda case, weight, speedup: Judged(case, "k", weight, speedup > 0, speedup or None, None),
        st.sampled_from("abcd"),
        st.floats(0.1, 1.0),
        st.just(0.0) | st.floats(0.1, 10.0),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=20, deadline=None)
@given(parts)
def test_shares_lie_between_nothing_and_all_and_fall_with_p(judged: list[Judged]) -> None:
    found = scores(judged)
    shares = list(found.fast.values())
    assert all(0 <= share <= 1 + 1e-12 for share in shares) and shares == sorted(shares, reverse=True)
    speedups = [one.speedup for one in judged if one.speedup]
    if found.geometric_mean is not None:
        assert min(speedups) - 1e-9 <= found.geometric_mean.value <= max(speedups) + 1e-9


def test_a_case_without_the_figure_does_not_make_an_interval() -> None:
    found = scores([*kernel("norm", 2.0), *kernel("scan", 0)])
    assert found.geometric_mean is not None and found.geometric_mean.low is None
    assert found.roof_score is not None and found.roof_score.low == 0.0
