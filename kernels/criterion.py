"""Hold a result's error against that of other legitimate evaluations. No tolerance is written by hand.

Errors are taken from an oracle in float64, on every element, four ways: relative L2 of each row, the 99.9th percentile
and the maximum of the elements' errors, and the mean error (a bias hides in none of the others). Each may be `FACTOR`
times the worst of the `null` evaluations (so far eager alone) plus a rounding floor in units in the last place that
grows with the root of the longest sum. Sizes are relative to
the element and its row's root mean square, never absolute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from joulegrid.kernels.module import flat_tensors
from joulegrid.kernels.problem import Output

FACTOR = 2.0
BIAS_FACTOR = 1.25
FLOOR_ULPS = 2.0
FLOOR_ULPS_PER_ROOT = 0.25
FLIPPED_SHARE = 0.005
"""Share of a quantised output that may differ by one step beyond twice the null evaluations' share."""


@dataclass(frozen=True, slots=True)
class Exceeded:
    """One measure that is larger than allowed; `measure` may also be `shape`, `dtype` or `finite`."""

    output: int
    measure: str
    found: float | str
    allowed: float | str


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one output is held against: the oracle, legitimate evaluations in the case's dtype, the longest sum."""

    oracle: Any
    null: Sequence[Any]
    reduction: int = 1
    output: Output = Output()
    scores: Any = None
    """Of an index output: float64 scores of all choices, the last dimension being the choices."""
    score_dtype: Any = None
    """Of an index output: torch's dtype of the case, whose rounding decides which scores are the same."""


def compare(candidate: Any, expected: Sequence[Expectation]) -> list[Exceeded]:
    """Return everything that is wrong with a candidate's outputs; nothing means that they pass."""
    tensors = flat_tensors(candidate)
    if len(tensors) != len(expected):
        return [Exceeded(-1, "outputs", f"{len(tensors)} tensors", f"{len(expected)} tensors")]
    wrong: list[Exceeded] = []
    for place, (tensor, expectation) in enumerate(zip(tensors, expected, strict=True)):
        wrong += _compare(place, tensor, expectation)
    return wrong


def _compare(place: int, tensor: Any, expected: Expectation) -> list[Exceeded]:
    like = expected.null[0]
    for measure, found, allowed in (
        ("shape", list(tensor.shape), list(like.shape)),
        ("dtype", tensor.dtype, like.dtype),
    ):
        if found != allowed:
            return [Exceeded(place, measure, str(found), str(allowed))]
    if not tensor.numel():
        return []
    if expected.output.kind == "index":
        return _compare_indices(place, tensor, expected)
    if not tensor.is_floating_point():
        return _compare_integers(place, tensor, expected)
    return _compare_floats(place, tensor, expected)


def _compare_floats(place: int, tensor: Any, expected: Expectation) -> list[Exceeded]:
    import torch

    dtype = expected.null[0].dtype
    unusual, usable = _finite(tensor, expected.oracle.to(dtype), expected.null)
    if unusual:
        return [Exceeded(place, "finite", f"{unusual} elements", "infinities and NaN where the oracle has them")]
    floor = torch.finfo(dtype).eps * (FLOOR_ULPS + FLOOR_ULPS_PER_ROOT * math.sqrt(expected.reduction))
    own = _errors(tensor, expected.oracle, usable)
    others = [_errors(member, expected.oracle, usable) for member in expected.null]
    return _exceeded(place, own, others, floor)


def _finite(tensor: Any, rounded: Any, null: Sequence[Any]) -> tuple[int, Any]:
    """Count elements that are infinite or NaN like neither oracle nor null; and tell which can be compared."""
    import torch

    usable = rounded.isfinite()
    fits = _same_kind(tensor, rounded)
    for member in null:
        fits = fits | _same_kind(tensor, member)
        usable = usable & member.isfinite()
    return int((~fits).sum()), torch.where(usable, tensor.isfinite(), usable)


def _same_kind(left: Any, right: Any) -> Any:
    finite = left.isfinite() & right.isfinite()
    infinite = left.isinf() & right.isinf() & (left.sign() == right.sign())
    return finite | infinite | (left.isnan() & right.isnan())


@dataclass(frozen=True, slots=True)
class _Errors:
    rows: Any
    p999: float
    maximum: float
    bias: float
    noise: float
    """What the mean of so many independent errors of this size would be by chance, twice its deviation."""


def _errors(tensor: Any, oracle: Any, usable: Any) -> _Errors:
    """Errors relative to element and row; rows that the oracle has as zero are held against the whole tensor."""
    import torch

    wanted = torch.where(usable, oracle, 0).reshape(-1, oracle.shape[-1] if oracle.dim() else 1)
    error = torch.where(usable, tensor.double() - oracle, 0).reshape(wanted.shape)
    whole = wanted.square().mean().sqrt().clamp(min=1e-300)
    scale = wanted.square().mean(-1, keepdim=True).sqrt()
    scale = torch.where(scale > 0, scale, whole)
    relative = error.abs() / torch.maximum(wanted.abs(), scale)
    ranked = relative.flatten().sort().values
    p999 = ranked[min(len(ranked) - 1, math.ceil(0.999 * len(ranked)) - 1)]
    rows = (error.square().mean(-1, keepdim=True).sqrt() / scale).squeeze(-1)
    noise = 2 * float((error / scale).square().mean().sqrt()) / math.sqrt(error.numel())
    return _Errors(rows, float(p999), float(ranked[-1]), float((error / scale).mean().abs()), noise)


def _exceeded(place: int, own: _Errors, others: Sequence[_Errors], floor: float) -> list[Exceeded]:
    import torch

    # A row in which eager was lucky is held against the rows' root mean square.
    allowed = torch.stack([torch.maximum(null.rows, null.rows.square().mean().sqrt()) for null in others]).amax(0)
    allowed = FACTOR * allowed + floor
    worst = int((own.rows - allowed).argmax())
    limits = {
        "row_l2": (float(own.rows[worst]), float(allowed[worst])),
        "p999": (own.p999, FACTOR * max(null.p999 for null in others) + 2 * floor),
        "maximum": (own.maximum, FACTOR * max(null.maximum for null in others) + 2 * floor),
        "bias": (own.bias, BIAS_FACTOR * max(max(null.bias, null.noise) for null in others) + floor),
    }
    # Written so that a NaN exceeds.
    return [Exceeded(place, name, found, limit) for name, (found, limit) in limits.items() if not found <= limit]


def _compare_integers(place: int, tensor: Any, expected: Expectation) -> list[Exceeded]:
    """Integers are equal; those of a quantised output may be one step away where the null evaluations are, too."""
    steps = (tensor.double() - expected.oracle.double()).abs()
    share = float((steps > 0).double().mean())
    if expected.output.kind != "quantised":
        return [Exceeded(place, "integers", share, 0.0)] if share else []
    shares = [float((null.double() != expected.oracle.double()).double().mean()) for null in expected.null]
    allowed = FACTOR * max(shares) + FLIPPED_SHARE + 1 / steps.numel()
    wrong = [Exceeded(place, "steps", float(steps.max()), 1.0)] if float(steps.max()) > 1 else []
    return wrong + ([Exceeded(place, "flipped", share, allowed)] if share > allowed else [])


def _compare_indices(place: int, tensor: Any, expected: Expectation) -> list[Exceeded]:
    """Each choice must score as well as the oracle's, up to the gap that the null evaluations leave."""
    choices = expected.scores.shape[-1]
    picks = tensor.reshape(*expected.scores.shape[:-1], -1)
    outside = int(((picks < 0) | (picks >= choices)).sum())
    repeated = int((picks.sort(-1).values.diff(dim=-1) == 0).sum())
    if outside or repeated:
        return [
            Exceeded(place, "choices", f"{outside} outside, {repeated} twice", f"different ones of 0…{choices - 1}")
        ]

    def scored(indices: Any) -> Any:
        return expected.scores.gather(-1, indices.reshape(picks.shape).long())

    value = replace(
        expected,
        oracle=scored(expected.oracle),
        null=[scored(null).to(expected.score_dtype) for null in expected.null],
        output=Output(),
    )
    return _compare_floats(place, scored(tensor).to(expected.score_dtype), value)
