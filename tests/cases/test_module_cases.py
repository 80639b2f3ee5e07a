"""Every packaged module: it loads, its shapes and formulas hold, its draws repeat, and wrong kernels are caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from joulegrid.cases.catalog import PACKAGED, module_cases  # noqa: E402
from joulegrid.cases.manifest import read_manifest, read_problem  # noqa: E402
from joulegrid.kernels.criterion import compare  # noqa: E402
from joulegrid.kernels.device import single_threaded  # noqa: E402
from joulegrid.kernels.distributions import DISTRIBUTIONS  # noqa: E402
from joulegrid.kernels.draw import LAYOUTS, Draw  # noqa: E402
from joulegrid.kernels.ensemble import expectations  # noqa: E402
from joulegrid.kernels.module import flat_tensors  # noqa: E402
from joulegrid.kernels.mutation import mutation_score  # noqa: E402
from joulegrid.kernels.problem import Problem  # noqa: E402
from joulegrid.kernels.trial import Trial, make_trial  # noqa: E402

NAMES = [name for name, folder in module_cases().items() if folder.parent == PACKAGED]
SMALL_CARD_BYTES = 20e9


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with single_threaded():
        yield


@lru_cache
def problem_named(name: str) -> Problem:
    return read_problem(PACKAGED / name)


def tensors(trial: Trial) -> list[Any]:
    return flat_tensors([trial.inputs.args, trial.inputs.kwargs, trial.state, trial.eager])


def test_there_are_cases_of_every_level() -> None:
    assert len(NAMES) >= 24
    assert {read_manifest(PACKAGED / name).level for name in NAMES} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("name", NAMES)
def test_a_packaged_case_declares_what_a_judge_needs(name: str) -> None:
    problem = problem_named(name)
    assert "fp32" in problem.dtypes and {"fp16", "bf16"} & set(problem.dtypes)
    assert len(problem.shapes) >= 3 and problem.scaled and len(problem.hidden) >= 2
    assert sum(shape.weight for shape in problem.shapes) == pytest.approx(1)
    for dtype in problem.dtypes:
        assert all(problem.bytes_moved(shape.dims, dtype) > 0 < problem.flops(shape.dims) for shape in problem.shapes)
        assert all(problem.bytes_moved(shape.dims, dtype) < SMALL_CARD_BYTES for shape in problem.scaled)


@pytest.mark.parametrize("name", NAMES)
def test_draws_repeat_and_the_oracle_is_finite(name: str) -> None:
    problem = problem_named(name)
    for place, dtype in enumerate(problem.dtypes):
        draw = Draw(problem.tiny.dims, dtype, seed=3, layout=LAYOUTS[1 + place])
        trial, again = make_trial(problem, draw), make_trial(problem, draw)
        other = make_trial(problem, Draw(problem.tiny.dims, dtype, seed=4))
        assert all(left.equal(right) for left, right in zip(tensors(trial), tensors(again), strict=True))
        assert not all(left.equal(right) for left, right in zip(tensors(trial), tensors(other), strict=True))
        assert len(flat_tensors(trial.oracle)) == len(problem.outputs)
        assert all(output.isfinite().all() for output in flat_tensors(trial.oracle))
        assert compare(trial.eager, expectations(trial)) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_best_result_that_a_dtype_can_hold_passes_on_every_distribution(name: str) -> None:
    problem = problem_named(name)
    shape = problem.hidden[0].draw(problem.tiny.dims, 5)
    for place, distribution in enumerate(DISTRIBUTIONS):
        dtype = problem.dtypes[place % len(problem.dtypes)]
        trial = make_trial(problem, Draw(shape.dims, dtype, place, distribution))
        pairs = zip(flat_tensors(trial.oracle), flat_tensors(trial.eager), strict=True)
        rounded = [oracle.to(eager.dtype) for oracle, eager in pairs]
        assert compare(rounded, expectations(trial)) == [], distribution


@pytest.mark.parametrize("name", NAMES)
def test_the_draws_of_a_case_kill_every_mutant(name: str) -> None:
    score = mutation_score(problem_named(name))
    assert score.failures == ()
    assert score.killed == score.applicable >= 14


def rmsnorm(x: Any, weight: Any) -> Any:
    return x * weight / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)


def softmax(x: Any) -> Any:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def cross_entropy(logits: Any, labels: Any) -> Any:
    kept = [(row, label) for row, label in zip(logits, labels, strict=True) if label != -100]
    return np.mean([np.log(np.exp(row - row.max()).sum()) + row.max() - row[label] for row, label in kept])


def swiglu(x: Any) -> Any:
    gate, up = np.split(x, 2, axis=-1)
    return gate / (1 + np.exp(-gate)) * up


def layernorm(x: Any, weight: Any, bias: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def reverse_cumsum(x: Any, mask: Any) -> Any:
    kept = np.where(mask, x, 0)
    return np.stack([kept[:, place:].sum(-1) for place in range(x.shape[-1])], axis=-1)


def max_pool(x: Any) -> Any:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    rows, columns = (x.shape[-2] + 1) // 2, (x.shape[-1] + 1) // 2
    windows = [padded[:, :, i : i + 2 * rows : 2, j : j + 2 * columns : 2] for i in range(3) for j in range(3)]
    least = min(window.shape[-2] for window in windows), min(window.shape[-1] for window in windows)
    return np.max([window[:, :, : least[0], : least[1]] for window in windows], axis=0)


def causal_conv(x: Any, weight: Any, bias: Any) -> Any:
    padded = np.pad(x, ((0, 0), (0, 0), (3, 0)))
    z = sum(weight[:, 0, k, None] * padded[:, :, k : k + x.shape[-1]] for k in range(4)) + bias[:, None]
    return z / (1 + np.exp(-z))


def nearest_code(x: Any, codebook: Any) -> Any:
    return ((x[:, None, :] - codebook) ** 2).sum(-1).argmin(-1)


def windowed(q: Any, k: Any, v: Any, kept: Callable[[int, int], bool], score: Callable[[Any], Any]) -> Any:
    out = np.zeros_like(q)
    for batch, head, i in np.ndindex(*q.shape[:3]):
        keys = [j for j in range(q.shape[2]) if kept(i, j)]
        shares = softmax(score(k[batch, head, keys] @ q[batch, head, i] / np.sqrt(q.shape[-1])))
        out[batch, head, i] = shares @ v[batch, head, keys]
    return out


def causal_attention(q: Any, k: Any, v: Any) -> Any:
    return windowed(q, k, v, lambda i, j: j <= i, lambda scores: scores)


def softcap_window_attention(q: Any, k: Any, v: Any) -> Any:
    return windowed(q, k, v, lambda i, j: i - 4 < j <= i, lambda scores: 20 * np.tanh(scores / 20))


def gated_recurrence(x: Any, decay: Any, start: Any) -> Any:
    states = [start]
    for step in range(x.shape[1]):
        states.append(decay[:, step] * states[-1] + (1 - decay[:, step]) * x[:, step])
    return np.stack(states[1:], axis=1)


INDEPENDENT: dict[str, Callable[..., Any]] = {
    "rmsnorm": rmsnorm,
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "swiglu": swiglu,
    "layernorm": layernorm,
    "masked_reverse_cumsum": reverse_cumsum,
    "max_pool": max_pool,
    "causal_conv": causal_conv,
    "nearest_code": nearest_code,
    "causal_attention": causal_attention,
    "softcap_window_attention": softcap_window_attention,
    "gated_recurrence": gated_recurrence,
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_the_oracle_agrees_with_the_mathematics_written_independently(name: str) -> None:
    problem = problem_named(name)
    trial = make_trial(problem, Draw(problem.tiny.dims, "fp32", seed=8))
    given = flat_tensors([trial.inputs.args, trial.inputs.kwargs, trial.state])
    arrays = [tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy() for tensor in given]
    [oracle] = flat_tensors(trial.oracle)
    np.testing.assert_allclose(oracle.numpy(), INDEPENDENT[name](*arrays), rtol=1e-9, atol=1e-11)
