"""The criterion: other orders of summation pass; small errors everywhere, one wrong element or a bias do not."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from joulegrid.kernels.criterion import Expectation, compare  # noqa: E402
from joulegrid.kernels.problem import Output  # noqa: E402


@pytest.fixture
def oracle() -> Any:
    return torch.randn(40, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def measures(candidate: Any, expected: Expectation) -> set[str]:
    return {wrong.measure for wrong in compare(candidate, [expected])}


def test_a_result_as_good_as_eager_passes_and_a_worse_one_does_not(oracle: Any) -> None:
    expected = Expectation(oracle, [oracle.float()])
    assert measures(oracle.float(), expected) == set()
    assert "row_l2" in measures(oracle.to(torch.bfloat16).float(), expected)


def test_one_wrong_element_of_many_is_found(oracle: Any) -> None:
    candidate = oracle.float()
    candidate[7, 11] *= 1.001
    assert "maximum" in measures(candidate, Expectation(oracle, [oracle.float()]))


def test_a_bias_that_hides_below_the_roundings_is_found(oracle: Any) -> None:
    null = oracle.to(torch.bfloat16)
    step = torch.finfo(torch.bfloat16).eps
    biased = (oracle + 0.05 + 8 * step).to(torch.bfloat16)
    assert "bias" in measures(biased, Expectation(oracle, [null]))


def test_zeros_fail_however_small_the_output_is(oracle: Any) -> None:
    small = oracle * 1e-20
    assert "row_l2" in measures(torch.zeros_like(small, dtype=torch.float32), Expectation(small, [small.float()]))


def test_a_longer_sum_may_round_more(oracle: Any) -> None:
    candidate = (oracle * (1 + 6e-7)).float()
    assert measures(candidate, Expectation(oracle, [oracle.float()], reduction=1)) != set()
    assert measures(candidate, Expectation(oracle, [oracle.float()], reduction=4096)) == set()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_infinities_and_nan_are_where_the_oracle_has_them(bad: float, oracle: Any) -> None:
    candidate = oracle.float()
    candidate[3, 4] = bad
    assert measures(candidate, Expectation(oracle, [oracle.float()])) == {"finite"}
    with_bad = oracle.clone()
    with_bad[3, 4] = bad
    assert measures(candidate, Expectation(with_bad, [with_bad.float()])) == set()
    assert measures(oracle.float(), Expectation(with_bad, [with_bad.float()])) == {"finite"}


def test_shape_dtype_and_number_of_outputs_come_first(oracle: Any) -> None:
    expected = Expectation(oracle, [oracle.float()])
    assert measures(oracle.float().T, expected) == {"shape"}
    assert measures(oracle, expected) == {"dtype"}
    assert measures([oracle.float(), oracle.float()], expected) == {"outputs"}


def test_integers_are_equal_and_quantised_ones_a_step_off_at_most() -> None:
    codes = torch.arange(-100, 100).reshape(2, 100)
    expected = Expectation(codes, [codes.to(torch.int8)])
    off = codes.clone()
    off[0, 5] += 1
    assert measures(off.to(torch.int8), expected) == {"integers"}
    quantised = Expectation(codes, [codes.to(torch.int8)], output=Output("quantised"))
    assert measures(off.to(torch.int8), quantised) == set()
    off[0, 5] += 1
    assert "steps" in measures(off.to(torch.int8), quantised)
    assert measures((codes + 1).to(torch.int8), quantised) == {"flipped"}


def test_an_index_is_judged_by_the_score_of_what_it_chose() -> None:
    scores = torch.tensor([[1.0, 5.0, 5.0, 2.0], [3.0, 1.0, 0.0, 2.0]], dtype=torch.float64)
    best = scores.topk(2).indices
    expected = Expectation(best, [best], output=Output("index", "scores"), scores=scores, score_dtype=torch.float32)
    assert measures(torch.tensor([[2, 1], [0, 3]]), expected) == set()
    assert measures(torch.tensor([[1, 2], [0, 1]]), expected) != set()
    assert measures(torch.tensor([[1, 1], [0, 3]]), expected) == {"choices"}
    assert measures(torch.tensor([[1, 4], [0, 3]]), expected) == {"choices"}
