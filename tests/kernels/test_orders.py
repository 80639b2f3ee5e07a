"""Other orders and roundings: every reordered operator still computes its mathematics, and rounding has no bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from joulegrid.kernels.orders import Orders  # noqa: E402
from joulegrid.kernels.reordering import _evaluated, _Evaluation, reordered, summed_in_turn  # noqa: E402
from joulegrid.kernels.rounding import Noise, randomly_rounded, ulp  # noqa: E402


def made(*shape: int, seed: int = 1) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


OPERATORS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "mm": (torch.mm, (made(5, 33), made(33, 7))),
    "bmm": (torch.matmul, (made(2, 3, 4, 9), made(2, 3, 9, 5))),
    "mv": (torch.mv, (made(4, 9), made(9))),
    "dot": (torch.dot, (made(9), made(9, seed=2))),
    "linear": (F.linear, (made(2, 5, 12), made(3, 12), made(3))),
    "baddbmm": (
        lambda c, a, b: torch.baddbmm(c, a, b, beta=0.5, alpha=2),
        (made(2, 3, 4), made(2, 3, 9), made(2, 9, 4)),
    ),
    "sum of all": (torch.sum, (made(4, 9),)),
    "sum of none": (lambda x: x.sum([]), (made(4, 9),)),
    "sum in fp32": (lambda x: x.sum((0, -1), keepdim=True, dtype=torch.float32), (made(4, 5, 9),)),
    "mean": (lambda x: x.mean(-1, keepdim=True), (made(4, 9),)),
    "mean of all": (torch.mean, (made(4, 9),)),
    "var": (lambda x: x.var(1), (made(4, 9, 2),)),
    "std": (lambda x: x.std(-1, correction=0), (made(4, 9),)),
    "cumsum": (lambda x: x.cumsum(-1), (made(4, 70),)),
    "softmax": (lambda x: x.softmax(0), (made(9, 4),)),
    "log_softmax": (lambda x: x.log_softmax(-1), (made(4, 9),)),
    "logsumexp": (lambda x: x.logsumexp(-1), (made(4, 9),)),
    "norm": (lambda x: x.norm(dim=-1), (made(4, 9),)),
    "layer_norm": (lambda x, w: F.layer_norm(x, (9,), w), (made(4, 9), made(9))),
    "group_norm": (lambda x: F.group_norm(x, 2), (made(2, 4, 9),)),
    "batch_norm": (lambda x, m, v: F.batch_norm(x, m, v.abs() + 1), (made(2, 4, 9), made(4), made(4))),
    "cross_entropy": (lambda x: F.cross_entropy(x, torch.tensor([1, -100, 3])), (made(3, 9),)),
    "conv1d": (
        lambda x, w, b: F.conv1d(x, w, b, padding=2, stride=2, groups=2),
        (made(2, 4, 9), made(6, 2, 3), made(6)),
    ),
    "conv2d": (lambda x, w: F.conv2d(x, w, padding=(1, 2), dilation=2), (made(2, 3, 9, 8), made(5, 3, 3, 2))),
    "attention": (F.scaled_dot_product_attention, (made(2, 3, 5, 8), made(2, 3, 5, 8), made(2, 3, 5, 8))),
    "gelu": (F.gelu, (made(4, 9),)),
    "avg_pool": (lambda x: F.avg_pool1d(x, 3, 2), (made(2, 3, 9),)),
    "angles": (lambda x: x.cos() * x.sin() + x.exp(), (made(4, 9),)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_reordered_operator_computes_the_same_mathematics(name: str) -> None:
    compute, given = OPERATORS[name]
    for dtype, steps in ((torch.float32, 40), (torch.bfloat16, 12)):
        arguments = [tensor.to(dtype) for tensor in given]
        wide = compute(*(tensor.double() for tensor in arguments)).double()
        plain = compute(*arguments)
        scale = float(wide.abs().max())
        for context in (reordered(3), reordered(4), summed_in_turn()):
            with torch.no_grad(), context:
                result = compute(*arguments)
            assert result.shape == plain.shape and result.dtype == plain.dtype
            assert float((result.double() - wide).abs().max()) <= steps * torch.finfo(dtype).eps * scale


def test_evaluations_differ_by_seed_and_repeat() -> None:
    left, right = made(9, 300), made(300, 9)
    results = []
    for seed in (1, 1, 2):
        with reordered(seed):
            results.append(left @ right)
    assert results[0].equal(results[1]) and not results[0].equal(results[2])


@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "std", "var", "softmax", "norm"])
def test_the_sums_inside_an_operator_are_made_in_other_orders(name: str) -> None:
    compute, given = OPERATORS[name]
    results = []
    with torch.no_grad():
        for order in (0, 1, 2, 3):
            with _evaluated(_Evaluation(Orders(torch.Generator().manual_seed(order)), None)):
                results.append(compute(*(one * 1.1 for one in given)))
    assert any(not one.equal(results[0]) for one in results[1:])


def test_what_a_dtype_can_hold_is_not_rounded() -> None:
    whole = torch.tensor([1.0, -2.0, 3.5, 0.0, float("inf"), 1024.0])
    with reordered(5):
        assert (whole.clone() * 2).equal(whole * 2)
        assert torch.exp(torch.zeros(50)).equal(torch.ones(50))
        assert whole.to(torch.bfloat16).equal(whole.bfloat16())


def test_random_rounding_goes_to_neighbours_without_bias() -> None:
    wide = torch.full((40_000,), 1 + 0.25 * 2.0**-7, dtype=torch.float64)
    noise = torch.rand(40_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    rounded = randomly_rounded(wide, torch.bfloat16, noise)
    assert {float(value) for value in rounded.unique()} == {1.0, 1 + 2.0**-7}
    assert float(rounded.double().mean() - 1) == pytest.approx(0.25 * 2.0**-7, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_noise_is_even_and_repeats_for_equal_numbers_within_one_turn_alone(dtype: Any) -> None:
    values = torch.cat((made(20_000).to(dtype), torch.ones(50, dtype=dtype)))
    noise = Noise(3)
    first, second = noise.of(values), noise.of(values)
    assert first.equal(Noise(3).of(values)) and not first.equal(Noise(4).of(values))
    assert len(first[-50:].unique()) == 1 and first[-1] != second[-1]
    assert float(first.abs().max()) <= 1
    assert float(first.mean()) == pytest.approx(0, abs=0.02)
    assert float(first.square().mean()) == pytest.approx(1 / 3, rel=0.03)
    assert abs(float((first * second).mean())) < 0.01
    neighbours = noise.of(1 + torch.arange(20_000, dtype=dtype) * torch.finfo(dtype).eps)
    assert abs(float((neighbours[1:] * neighbours[:-1]).mean())) < 0.01


def test_rows_that_are_equal_are_rounded_alike_as_by_a_deterministic_kernel() -> None:
    rows = made(9, 1).expand(9, 200).clone()
    with reordered(1):
        result = rows.exp() / 3
    assert result.equal(result[:, :1].expand(9, 200))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_step_between_neighbours_is_torchs_own(dtype: Any) -> None:
    values = torch.tensor([1.0, 1.5, 2.0, 1000.0, 1e-3]).to(dtype)
    above = torch.nextafter(values, torch.full_like(values, float("inf")))
    assert ulp(values.double(), dtype).equal(above.double() - values.double())


def test_partial_sums_in_sixteen_bits_lose_what_others_keep() -> None:
    terms = made(1, 4096).abs()
    true = terms.double().sum()
    kept = Orders(None).total(terms, [-1], False)
    lost = Orders(None, torch.bfloat16).total(terms, [-1], False)
    assert abs(float(kept - true)) < 1e-5 * float(true) < 0.05 * float(true) < abs(float(lost - true))
