"""Draws: the same seed gives the same numbers, and each distribution is what its name says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from joulegrid.errors import UsageError  # noqa: E402
from joulegrid.kernels.draw import (  # noqa: E402
    LAYOUTS,
    Draw,
    Layout,
    agent_provide_inputs,
    agent_provide_weights,
    relaid,
)
from joulegrid.kernels.problem import (  # noqa: E402
    Arguments,
    Computed,
    Constant,
    Node,
    Problem,
    Shape,
    TensorSpec,
    Weights,
)

X = TensorSpec(("rows", "width"))
DIMS = {"rows": 64, "width": 100}


def problem(*args: Node, **kwargs: Node) -> Problem:
    tiny = Shape("tiny", DIMS)
    return Problem(
        name="made",
        file=Path("model.py"),
        class_name="Model",
        init=Arguments(),
        inputs=Arguments(args, kwargs),
        dtypes=("fp32",),
        shapes=(tiny,),
        scaled=(tiny,),
        tiny=tiny,
        hidden=(),
        bytes_formula="rows",
        flops_formula="rows",
    )


def drawn(spec: TensorSpec = X, **of_draw: Any) -> Any:
    return agent_provide_inputs(problem(spec), Draw(DIMS, **of_draw)).args[0]


def test_the_seed_decides_the_numbers_and_nothing_global_does() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert drawn(seed=5).equal(drawn(seed=5))
    assert not drawn(seed=5).equal(drawn(seed=6))
    assert torch.get_rng_state().equal(state)


def test_another_input_changes_no_number_of_the_first() -> None:
    both = agent_provide_inputs(problem(X, X), Draw(DIMS))
    assert both.args[0].equal(drawn()) and not both.args[0].equal(both.args[1])


def test_half_precision_holds_the_rounded_numbers_of_the_full_one() -> None:
    assert drawn(dtype="bf16").equal(drawn(dtype="fp32").to(torch.bfloat16))


def test_nested_arguments_literals_and_formulas_arrive_as_they_were_declared() -> None:
    tree = problem([X, Constant(None)], flags={"causal": Constant(True), "x": X}, half=Computed("width // 2"))
    given = agent_provide_inputs(tree, Draw(DIMS))
    [[x, none]] = given.args
    assert x.shape == (64, 100) and none is None
    assert given.kwargs["flags"]["causal"] is True and given.kwargs["flags"]["x"].shape == (64, 100)
    assert given.kwargs["half"] == 50 and isinstance(given.kwargs["half"], int)


@pytest.mark.parametrize(
    ("distribution", "holds"),
    [
        ("offset", lambda x: abs(x.mean() - 5) < 0.1),
        ("tiny", lambda x: 0 < x.abs().max() < 0.01),
        ("large", lambda x: x.abs().max() > 200),
        ("heavy_tail", lambda x: 20 < x.abs().max() <= 1000),
        ("sparse", lambda x: 0.8 < (x == 0).float().mean() < 0.97),
        ("ascending", lambda x: (x.diff(dim=-1) >= 0).all()),
        ("clustered", lambda x: (x.argmax(-1) < 10).all()),
        ("spike", lambda x: ((x == 30).sum(-1) == 1).all() and (x == 30).any(0).sum() > 20),
        ("constant_rows", lambda x: (x == x[:, :1]).all()),
        ("ties", lambda x: (x * 2 == (x * 2).round()).all()),
        ("uneven_rows", lambda x: x.abs().mean(-1).max() > 20 * x.abs().mean(-1).min()),
        ("tail_column", lambda x: x[:, -1].abs().mean() > 20 * x[:, 0].abs().mean()),
        ("uniform", lambda x: 0.9 < x.abs().max() < 1),
    ],
)
def test_a_distribution_is_what_its_name_says(distribution: str, holds: Any) -> None:
    assert holds(drawn(distribution=distribution))


def test_a_restricted_input_takes_one_of_its_own_distributions() -> None:
    only = replace(X, distributions=("uniform",))
    assert drawn(only, distribution="large").abs().max() < 1
    with pytest.raises(UsageError, match="'gauss' is not known; choose one of normal"):
        drawn(distribution="gauss")


@pytest.mark.parametrize("distribution", ["normal", "large", "spike", "constant_rows"])
def test_domains_hold_on_every_distribution(distribution: str) -> None:
    def of(domain: Any) -> Any:
        return drawn(replace(X, domain=domain), distribution=distribution)

    assert ((of("unit") >= 0) & (of("unit") <= 1)).all()
    assert (of("positive") > 0).all()
    assert torch.allclose(of("probability").sum(-1), torch.ones(64))
    assert torch.allclose(of("log_probability").exp().sum(-1), torch.ones(64))


def test_integers_reach_both_ends_and_the_sprinkled_value() -> None:
    ids = drawn(TensorSpec(("rows",), "int64", low=2, high="width", sprinkle=-100))
    assert ids.dtype == torch.int64 and set(ids.tolist()) - {-100} <= set(range(2, 100)) and -100 in ids
    plain = drawn(TensorSpec((5,), "int32", low=0, high=1000))
    assert {0, 999} <= set(plain.tolist())
    with pytest.raises(UsageError, match="low 3 and high 3"):
        drawn(TensorSpec((5,), "int64", low=3, high=3))


def test_bools_have_their_share_and_empty_tensors_and_scalars_are_drawn() -> None:
    assert 0.15 < drawn(TensorSpec(("rows", "width"), "bool", fraction=0.2)).float().mean() < 0.25
    assert drawn(TensorSpec(())).shape == ()
    assert drawn(TensorSpec((0, "width"))).numel() == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_keeps_the_values(layout: Layout) -> None:
    x = drawn()
    laid = relaid(x, layout)
    assert laid.equal(x)
    assert laid.is_contiguous() == (layout in ("contiguous", "offset"))
    assert (laid.storage_offset() > 0) == (layout in ("sliced", "offset"))


def test_weights_by_name_are_never_the_constructors() -> None:
    state = {
        "norm.weight": torch.ones(100),
        "norm.bias": torch.zeros(100),
        "norm.running_var": torch.ones(100),
        "norm.num_batches_tracked": torch.tensor(0),
        "linear.weight": torch.zeros(64, 100),
        "codes": torch.zeros(4, 4, dtype=torch.int8),
        "table": torch.ones(3),
    }
    made = replace(problem(X), weights=Weights(keep=("tab*",), domains={"norm.bias": "positive"}))
    weights = agent_provide_weights(made, Draw(DIMS, seed=2), state)
    assert (weights["norm.weight"] != 1).all() and 0.8 < weights["norm.weight"].mean() < 1.2
    assert (weights["norm.bias"] > 0).all() and (weights["norm.running_var"] > 0).all()
    assert weights["norm.num_batches_tracked"] == 0 and weights["table"].equal(torch.ones(3))
    assert 0.08 < weights["linear.weight"].std() < 0.12
    assert weights["codes"].dtype == torch.int8 and (weights["codes"] != 0).any()
