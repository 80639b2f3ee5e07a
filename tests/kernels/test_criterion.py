"""The criterion: what errs as legitimate evaluations do passes; small errors everywhere, one wrong or a bias do not."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from joulegrid.errors import UsageError  # noqa: E402
from joulegrid.kernels.criterion import Expectation, Reference, compare, expectation  # noqa: E402
from joulegrid.kernels.problem import Output  # noqa: E402
from joulegrid.kernels.rounding import Noise, randomly_rounded  # noqa: E402

BF16 = torch.bfloat16


@pytest.fixture
def oracle() -> Any:
    return torch.randn(40, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def drawn(truth: Any, dtype: Any, count: int = 8) -> list[Any]:
    """The truth, rounded up or down at random."""
    return [randomly_rounded(truth, dtype, Noise(100 + seed).of(truth)) for seed in range(count)]


def held(truth: Any, dtype: Any = torch.float32, **fields: Any) -> Expectation:
    like = truth.to(dtype)
    return expectation(Reference(truth, like, **fields), [like], drawn(truth, dtype))


def measures(candidate: Any, expected: Expectation) -> set[str]:
    return {wrong.measure for wrong in compare(candidate, [expected])}


@pytest.mark.parametrize("dtype", [torch.float32, BF16, torch.float16])
def test_a_result_as_good_as_the_others_passes_and_a_worse_one_does_not(dtype: Any, oracle: Any) -> None:
    expected = held(oracle, dtype)
    assert measures(oracle.to(dtype), expected) == set()
    assert measures(drawn(oracle, dtype, 20)[-1], expected) == set()
    noise = torch.randn(oracle.shape, generator=torch.Generator().manual_seed(3), dtype=oracle.dtype)
    worse = oracle * (1 + 4 * torch.finfo(dtype).eps * noise)
    assert {"row_l2", "p999", "maximum"} <= measures(worse.to(dtype), expected)


def test_one_wrong_element_of_many_is_found(oracle: Any) -> None:
    candidate = oracle.float()
    candidate[7, 11] *= 1.001
    assert "maximum" in measures(candidate, held(oracle))


def test_a_bias_that_hides_below_the_roundings_is_found(oracle: Any) -> None:
    biased = oracle + torch.finfo(BF16).eps / 4
    assert measures(biased.to(BF16), held(oracle, BF16)) >= {"bias"}


def test_cutting_off_the_bits_in_place_of_rounding_is_found(oracle: Any) -> None:
    kept = torch.tensor(-65536, dtype=torch.int32)
    cut = (oracle.float().view(torch.int32) & kept).view(torch.float32).to(BF16)
    assert measures(cut, held(oracle, BF16)) >= {"shrinkage"}


def test_zeros_fail_however_small_the_output_is(oracle: Any) -> None:
    small = oracle * 1e-20
    assert "row_l2" in measures(torch.zeros_like(small, dtype=torch.float32), held(small))


def test_where_the_truth_is_zero_everywhere_members_errors_alone_count(oracle: Any) -> None:
    zero = oracle * 0
    members = [1e-7 * torch.randn(40, 300, generator=torch.Generator().manual_seed(seed)) for seed in range(8)]
    expected = expectation(Reference(zero, zero.float()), [zero.float()], members[:-1])
    assert measures(zero.float(), expected) == set()
    assert measures(members[-1], expected) == set()
    assert "l2" in measures(members[-1] * 10, expected)
    assert "l2" in measures(members[-1], held(zero))


def test_a_longer_sum_may_round_more_but_not_in_sixteen_bits(oracle: Any) -> None:
    candidate = oracle * (1 + 6e-7 * (-1) ** torch.arange(300))
    assert measures(candidate.float(), held(oracle, reduction=1)) != set()
    assert measures(candidate.float(), held(oracle, reduction=4096)) == set()
    coarse = oracle * (1 + 3e-2 * (-1) ** torch.arange(300))
    assert measures(coarse.to(BF16), held(oracle, BF16, reduction=4096)) != set()


def test_a_row_in_which_one_member_went_another_way_does_not_excuse_the_others(oracle: Any) -> None:
    members = drawn(oracle, torch.float32)
    members[3][5] = 0
    expected = expectation(Reference(oracle, oracle.float()), [oracle.float()], members)
    candidate = oracle.float()
    candidate[5] = 0
    assert measures(candidate, expected) <= {"bias", "shrinkage"}
    candidate = oracle.float()
    candidate[6] = 0
    assert "row_l2" in measures(candidate, expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_infinities_and_nan_are_where_the_oracle_has_them(bad: float, oracle: Any) -> None:
    candidate = oracle.float()
    candidate[3, 4] = bad
    assert measures(candidate, held(oracle)) == {"finite"}
    with_bad = oracle.clone()
    with_bad[3, 4] = bad
    assert measures(candidate, held(with_bad)) == set()
    assert measures(oracle.float(), held(with_bad)) == {"finite"}


def test_shape_dtype_and_number_of_outputs_come_first(oracle: Any) -> None:
    expected = held(oracle)
    assert measures(oracle.float().T, expected) == {"shape"}
    assert measures(oracle, expected) == {"dtype"}
    assert measures([oracle.float(), oracle.float()], expected) == {"outputs"}


def test_an_exact_output_is_equal_to_the_oracle_and_empty_ones_pass(oracle: Any) -> None:
    expected = held(oracle, BF16, exact=True)
    candidate = oracle.to(BF16)
    assert measures(candidate, expected) == set()
    candidate[0, 0] = torch.nextafter(candidate[0, 0], candidate[0, 0] * 0)
    assert measures(candidate, expected) == {"exact"}
    empty = torch.zeros(0, 5, dtype=torch.float64)
    assert measures(empty.float(), held(empty)) == set()


def test_integers_are_equal() -> None:
    codes = torch.arange(-100, 100).reshape(2, 100)
    expected = expectation(Reference(codes, codes), [codes], [codes, codes])
    assert measures(codes.clone(), expected) == set()
    assert measures(codes + 1, expected) == {"integers"}


def test_a_quantised_number_is_nearest_to_what_it_was_made_of() -> None:
    real = torch.tensor([[1.2, 2.5, -3.5, 4.5 + 1e-9, 7.49]], dtype=torch.float64)
    codes = real.round().to(torch.int8)
    reference = Reference(codes, codes, Output("quantised", "unrounded"), scores=real)
    expected = expectation(reference, [real.float()], drawn(real, torch.float32))
    assert measures(torch.tensor([[1, 3, -4, 4, 7]], dtype=torch.int8), expected) == set()
    assert measures(torch.tensor([[1, 2, -3, 5, 8]], dtype=torch.int8), expected) == {"rounding_gap"}
    assert measures(torch.tensor([[2, 2, -4, 5, 7]], dtype=torch.int8), expected) == {"rounding_gap"}


SCORES = torch.tensor([[1.0, 5.0, 5.0, 2.0], [3.0, 1.0, 0.0, 2.0 + 1e-9]], dtype=torch.float64)


def choosing(scores: Any, count: int, best: Any = "highest") -> Expectation:
    picks = scores.topk(count, largest=best == "highest").indices
    reference = Reference(picks, picks, Output("index", "scores", best), scores=scores)
    return expectation(reference, [scores.float()], drawn(scores, torch.float32))


def test_an_index_is_judged_by_the_score_of_what_it_chose() -> None:
    expected = choosing(SCORES, 2)
    assert measures(torch.tensor([[2, 1], [0, 3]]), expected) == set()
    assert measures(torch.tensor([[1, 2], [0, 1]]), expected) == {"score_gap"}
    assert measures(torch.tensor([[1, 2], [3, 0]]), expected) == {"score_gap"}
    assert measures(torch.tensor([[1, 1], [0, 3]]), expected) == {"choices"}
    assert measures(torch.tensor([[1, 4], [0, 3]]), expected) == {"choices"}


def test_scores_that_rounding_makes_equal_may_both_be_chosen() -> None:
    near = torch.tensor([[2.0, 2.0 + 1e-9, 1.0, 0.3]], dtype=torch.float64)
    assert measures(torch.tensor([[0]]), choosing(near, 1)) == set()
    assert measures(torch.tensor([[2]]), choosing(near, 1)) == {"score_gap"}
    exact = torch.tensor([[2.0, 2.0 + 2.0**-20, 1.0, 0.5]], dtype=torch.float64)  # float32 holds them: none ever errs
    assert measures(torch.tensor([[0]]), choosing(exact, 1)) == {"score_gap"}


def test_the_lowest_score_is_the_best_where_that_is_declared() -> None:
    assert measures(torch.tensor([[0], [2]]), choosing(SCORES, 1, "lowest")) == set()
    picks = SCORES.argmin(-1)
    reference = Reference(picks, picks, Output("index", "scores", "highest"), scores=SCORES)
    with pytest.raises(UsageError, match="best: 'highest' was given, but what forward chooses"):
        expectation(reference, [SCORES], [SCORES, SCORES])
