"""Courses of series: fresh inputs for every call, the order of members, N, and what is verified afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from joulegrid.cases.catalog import case_folder  # noqa: E402
from joulegrid.cases.manifest import read_problem  # noqa: E402
from joulegrid.kernels.distributions import DISTRIBUTIONS  # noqa: E402
from joulegrid.kernels.draw import Draw, agent_provide_weights  # noqa: E402
from joulegrid.kernels.module import construct, load_class, load_state  # noqa: E402
from joulegrid.kernels.problem import Problem  # noqa: E402
from joulegrid.kernels.timing import inputs as made  # noqa: E402
from joulegrid.kernels.timing.afterwards import Afterwards, WrongAfterTiming  # noqa: E402
from joulegrid.kernels.timing.eager_model import EagerModel, eager_model  # noqa: E402
from joulegrid.kernels.timing.pairs import Sample  # noqa: E402
from joulegrid.kernels.timing.result import TimingSettings  # noqa: E402
from joulegrid.kernels.timing.roofs import Roofs  # noqa: E402
from joulegrid.kernels.timing.series import Course, chosen_calls, read_calls, rough_call_ns, run_course, warm_up  # noqa: E402
from joulegrid.kernels.trial import constructor_arguments  # noqa: E402
from tests.kernels.timing.simulated import Machine, SimulatedSession  # noqa: E402

DIMS = {"rows": 6, "width": 64}


@pytest.fixture(scope="module")
def problem() -> Problem:
    return read_problem(case_folder("rmsnorm"))


@pytest.fixture(scope="module")
def module(problem: Problem) -> Any:
    built = construct(load_class(problem), constructor_arguments(problem, DIMS))
    return load_state(built, agent_provide_weights(problem, Draw(DIMS), built.state_dict()))


def course(
    problem: Problem, module: Any, candidate: Callable[[Any], Any], kinds: int = 2, calls: int = 4
) -> tuple[list[Sample], Any, Afterwards]:
    """Two pairs of series."""
    sessions = {
        "candidate": SimulatedSession(Machine(1), 1e5, candidate),
        "eager": SimulatedSession(Machine(2), 1e5, module),
    }
    draw = Draw(DIMS)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    afterwards = Afterwards(problem, draw, state)
    samples: list[Sample] = []
    plan = Course(
        0, calls, 2, partial(made.fresh_inputs, problem, draw),
        partial(made.odd_inputs, problem, draw, made.odd_kinds(draw, 0, kinds)),
        partial(made.turned_weights, problem, draw, state), sessions, lambda left: afterwards.verify(left, 1),
    )  # fmt: skip
    run_course(sessions, plan, samples)
    return samples, sessions, afterwards


def test_no_call_of_a_course_sees_inputs_that_were_there_before(problem: Problem, module: Any) -> None:
    samples, sessions, afterwards = course(problem, module, module)
    assert [sample.member for sample in samples] == ["candidate", "eager"] * 2 + ["eager", "candidate"] * 2
    assert [4 <= sample.calls <= 5 or 8 <= sample.calls <= 9 for sample in samples] == [True] * 8
    seen = [one.args[0] for one in sessions["candidate"].seen]
    timed = sum(sample.calls for sample in samples) // 2
    assert timed + 2 <= len(seen) == afterwards.compared <= timed + 9, "one series is not timed"
    assert not any(torch.equal(left, right) for place, left in enumerate(seen) for right in seen[:place])
    assert all(torch.equal(one.args[0], other) for one, other in zip(sessions["eager"].seen, seen, strict=True))


def test_a_candidate_that_is_right_on_kind_numbers_alone_is_found(problem: Problem, module: Any) -> None:
    def kind(x: Any) -> Any:
        return module(x) if float(x.abs().max()) < 8 else module(x).clamp(-2, 2)

    with pytest.raises(WrongAfterTiming) as found:
        course(problem, module, kind, kinds=8)
    assert "inputs" in found.value.evidence.where


def test_a_candidate_that_keeps_weights_from_one_series_to_the_next_is_found(problem: Problem, module: Any) -> None:
    kept: list[Any] = []

    def keeping(x: Any) -> Any:
        kept.append(copy.deepcopy(module)) if not kept else None
        return kept[0](x)

    with pytest.raises(WrongAfterTiming):
        course(problem, module, keeping)


def test_other_weights_are_all_other_or_differ_in_one_row(problem: Problem) -> None:
    state = {"linear.weight": torch.randn(40, 30), "norm.weight": torch.randn(50)}
    rows = set()
    for _ in range(30):
        other = made.turned_weights(problem, Draw(DIMS), state)
        rows.add(int((other["linear.weight"] != state["linear.weight"]).any(dim=1).sum()))
    assert rows == {1, 40}


def test_five_processes_see_every_kind_of_input() -> None:
    draw = Draw(DIMS, seed=7)
    seen = [kind for process in range(5) for kind in made.odd_kinds(draw, process, TimingSettings().oracle_kinds)]
    assert set(seen) == DISTRIBUTIONS.keys() - {"normal"}
    assert made.odd_kinds(draw, 0, 3) != made.odd_kinds(replace(draw, seed=8), 0, 3)


def test_a_course_of_single_calls_has_places_for_all_of_its_series(problem: Problem, module: Any) -> None:
    samples, sessions, _ = course(problem, module, module, kinds=3, calls=1)
    assert {sample.calls for sample in samples} == {1, 2}
    assert len(sessions["candidate"].seen) <= 2 * 3 + 2


def test_coarser_numbers_in_a_later_series_are_found(problem: Problem, module: Any) -> None:
    calls = 0

    def coarser(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return module(x) * (1 + 1e-5 * torch.randn_like(x)) if calls > 12 else module(x)

    with pytest.raises(WrongAfterTiming):
        course(problem, module, coarser)


def test_a_candidate_that_shows_an_earlier_output_again_is_found_in_its_series(problem: Problem, module: Any) -> None:
    first: list[Any] = []

    def replaying(x: Any) -> Any:
        first.append(module(x)) if not first else None
        return first[0]

    with pytest.raises(WrongAfterTiming) as found:
        course(problem, module, replaying)
    assert "timed outputs against" in found.value.evidence.check


def test_one_call_of_a_series_that_did_no_work_is_found(problem: Problem, module: Any) -> None:
    calls = 0

    def lazy(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return torch.zeros_like(x) if calls == 16 else module(x)

    with pytest.raises(WrongAfterTiming):
        course(problem, module, lazy)


def test_short_series_are_read_whole_and_of_long_ones_calls_that_nobody_can_foresee() -> None:
    assert read_calls(3) == [0, 1, 2]
    drawn = [read_calls(400) for _ in range(8)]
    assert {len(one) for one in drawn} == {50}
    assert len({tuple(one) for one in drawn}) == 8


def test_another_dtype_or_shape_is_found(problem: Problem, module: Any) -> None:
    with pytest.raises(WrongAfterTiming):
        course(problem, module, lambda x: module(x).double())
    with pytest.raises(WrongAfterTiming):
        course(problem, module, lambda x: module(x)[:1])


def test_derived_inputs_are_new_numbers(problem: Problem) -> None:
    sets = made.fresh_inputs(problem, Draw({"rows": 1, "width": 64}), 5, numbers=128)
    assert [one.turn is None for one in sets] == [True, True, False, False, False]
    drawn, derived = sets[0].arguments.args[0], sets[2].arguments.args[0]
    assert not torch.isin(derived, drawn).any(), "normal numbers are drawn anew"
    assert made.input_bytes(sets[0].arguments) == 256


def test_derived_inputs_of_a_domain_keep_their_values_and_no_row_its_place() -> None:
    case = read_problem(case_folder("gated_recurrence"))
    sets = made.fresh_inputs(case, Draw(case.tiny.dims), 2, numbers=1)
    place = next(place for place, scale in enumerate(made.plain_scales(case)) if scale is None)
    drawn, derived = (one.arguments.args[place] for one in sets)
    assert not torch.equal(drawn, derived)
    assert torch.equal(drawn.flatten().sort().values, derived.flatten().sort().values)


def test_labels_and_rows_that_sum_to_one_stay_so() -> None:
    case = read_problem(case_folder("kl_divergence"))
    sets = made.fresh_inputs(case, Draw(case.tiny.dims), 3, numbers=1)
    for one in sets:
        tensors = [tensor for tensor in one.arguments.args if tensor.dim()]
        assert all(tensor.isfinite().all() for tensor in tensors)


def test_n_is_chosen_by_time_within_memory() -> None:
    wanted = TimingSettings(series_s=0.02, memory_bytes=64 << 20, most_calls=2048)
    assert chosen_calls(1e6, wanted, 1_000, None) == 20
    assert chosen_calls(1e3, wanted, 1 << 20, None) == 28
    assert chosen_calls(1.0, wanted, 1, None) == 2048
    assert chosen_calls(1e12, wanted, 1 << 30, None) == 1


def test_sets_exceed_the_cache_where_that_is_within_reach() -> None:
    wanted = TimingSettings(series_s=0.02, memory_bytes=128 << 20)
    assert chosen_calls(4e6, wanted, 1 << 20, 32 << 20) == 17
    assert chosen_calls(4e6, wanted, 1 << 20, 260 << 20) == 5
    assert chosen_calls(4e6, wanted, 1 << 16, 32 << 20) == 5


def test_warm_up_is_by_time(problem: Problem, module: Any) -> None:
    session = SimulatedSession(Machine(3), 1e6, module)
    sets = made.fresh_inputs(problem, Draw(DIMS), 4)
    warm_up(session, sets, 0.1)
    assert 15 <= len(session.seen) / 4 <= 26
    assert rough_call_ns(session, sets) == pytest.approx(1e6, rel=0.5)


def test_the_byte_model_counts_what_operators_touch_and_views_not(problem: Problem, module: Any) -> None:
    def shifted(x: Any) -> Any:
        return x.view(-1) + 1

    sets = made.fresh_inputs(problem, Draw(DIMS), 1)
    found = eager_model(shifted, sets[0].arguments, flops=384)
    assert found == EagerModel(bytes_touched=2 * 6 * 64 * 4, operators=1, flops=384)
    roofs = Roofs(device="made", threads=1, bytes_per_s=1e9, flops_per_s={"fp32": 1e9}, cache_bytes=None)
    assert not found.pathological(found.seconds(roofs, "fp32"), roofs, "fp32")
    assert found.pathological(6 * found.seconds(roofs, "fp32"), roofs, "fp32")
