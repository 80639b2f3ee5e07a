"""The null ensemble: right evaluations pass and sums in 16 bits do not, on whole cases; members repeat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from joulegrid.cases.catalog import PACKAGED  # noqa: E402
from joulegrid.cases.manifest import read_problem  # noqa: E402
from joulegrid.kernels.criterion import compare  # noqa: E402
from joulegrid.kernels.device import single_threaded  # noqa: E402
from joulegrid.kernels.draw import Draw  # noqa: E402
from joulegrid.kernels.ensemble import (  # noqa: E402
    Ensemble,
    Settings,
    drawn_member,
    evaluated,
    expectations,
    null_ensemble,
)
from joulegrid.kernels.module import flat_tensors, load_class  # noqa: E402
from joulegrid.kernels.reordering import summed_in_turn  # noqa: E402
from joulegrid.kernels.trial import Trial, make_trial  # noqa: E402

BENIGN = Path(__file__).parents[1] / "attacks" / "benign"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with single_threaded():
        yield


@lru_cache
def scene(name: str, dtype: str, distribution: str = "normal", **dims: int) -> tuple[Trial, Ensemble]:
    problem = read_problem(PACKAGED / name)
    trial = make_trial(problem, Draw({**problem.tiny.dims, **dims}, dtype, 5, distribution))
    return trial, null_ensemble(trial)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("batchnorm_relu_residual", "bf16"), ("gated_mlp", "bf16"), ("nearest_code", "fp32"), ("quantize_rows", "bf16")],
)
def test_every_legitimate_evaluation_passes_without_having_been_asked(name: str, dtype: str) -> None:
    trial, ensemble = scene(name, dtype)
    for member in ensemble.fixed:
        others = Ensemble(tuple(one for one in ensemble.fixed if one is not member), ensemble.drawn)
        assert compare(member.outputs, expectations(trial, others)) == [], member.name
    expected = expectations(trial, ensemble)
    assert compare(drawn_member(trial, 99).outputs, expected) == []
    assert compare(evaluated(trial, summed_in_turn()), expected) == []
    pairs = zip(flat_tensors(trial.oracle), flat_tensors(trial.eager), strict=True)
    assert compare([oracle.to(eager.dtype) for oracle, eager in pairs], expected) == []


@pytest.mark.parametrize(("dtype", "accumulator"), [("fp32", torch.float16), ("bf16", torch.bfloat16)])
def test_sums_in_sixteen_bits_fail_where_eager_keeps_more(dtype: str, accumulator: Any) -> None:
    trial, ensemble = scene("linear_gelu", dtype)
    assert compare(evaluated(trial, summed_in_turn(accumulator)), expectations(trial, ensemble)) != []


def test_partial_sums_of_a_few_chunks_may_be_added_in_any_order() -> None:
    trial, ensemble = scene("linear_gelu", "bf16")
    x, state = trial.inputs.args[0].float(), trial.state
    names = sorted(state)
    bias, weight = (state[name].float() for name in names)
    parts = [x[..., place::4] @ weight[:, place::4].T for place in (2, 0, 3, 1)]
    split = torch.nn.functional.gelu((sum(parts) + bias).bfloat16())
    assert compare(split, expectations(trial, ensemble)) == []


@pytest.mark.parametrize("name", ["blocked_scan", "interpolated_state", "scan_by_pairs", "scan_for_loop"])
def test_a_loop_over_time_may_be_solved_otherwise_where_rows_hold_one_number(name: str) -> None:
    problem = read_problem(PACKAGED / "gated_recurrence")
    candidate = load_class(replace(problem, file=BENIGN / f"{name}.py", class_name="OptimizedModel"))
    for seed in range(6):
        trial = make_trial(problem, Draw(problem.tiny.dims, "fp32", seed, "constant_rows"))
        outputs = evaluated(replace(trial, cls=candidate), nullcontext())
        assert compare(outputs, expectations(trial, null_ensemble(trial))) == []


def test_any_seed_of_a_draw_gives_members() -> None:
    problem = read_problem(PACKAGED / "gelu_tanh")
    members = null_ensemble(make_trial(problem, Draw(problem.tiny.dims, seed=2**70)), Settings(drawn=3)).drawn
    assert len({float(member.outputs[0].double().sum()) for member in members}) == 3


def test_members_repeat_and_differ_from_each_other() -> None:
    trial, ensemble = scene("gated_mlp", "bf16")
    again = null_ensemble(trial, Settings(drawn=3))
    pairs = zip(again.drawn, ensemble.drawn, strict=False)
    assert all(one.outputs[0].equal(other.outputs[0]) for one, other in pairs)
    assert not again.drawn[0].outputs[0].equal(again.drawn[1].outputs[0])
    names = [member.name for member in ensemble.fixed]
    assert names == ["eager", "in turn", "transposed", "sliced", "offset", "rounded once"]


def test_threads_are_put_back_and_layouts_can_be_left_out() -> None:
    trial, _ = scene("gated_mlp", "fp32")
    members = null_ensemble(trial, Settings(drawn=2, layouts=False, threads=True)).fixed
    assert [member.name for member in members] == ["eager", "in turn", "threads"]
    assert torch.get_num_threads() == 1


def test_the_declared_class_decides_whether_anything_may_be_rounded() -> None:
    trial, ensemble = scene("window_mean", "fp32")
    off = trial.eager * (1 + 2.0**-23)
    assert compare(off, expectations(trial, ensemble)) == []
    exact = replace(trial, problem=replace(trial.problem, tolerance="exact"))
    assert [wrong.measure for wrong in compare(off, expectations(exact, ensemble))] == ["exact"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while the compiler is imported
def test_what_torch_compile_makes_of_a_module_passes() -> None:
    trial, ensemble = scene("gelu_tanh", "bf16")
    [member] = [one for one in null_ensemble(trial, Settings(drawn=2, compiled=True)).fixed if one.name == "compiled"]
    assert compare(member.outputs, expectations(trial, ensemble)) == []
