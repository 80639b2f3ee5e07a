"""Hold a candidate's outputs against the oracle and a null ensemble, and say what is wrong with them.

Floats by their errors (`null_errors`); an index by the score of what it chose; quantised integers by the numbers that
they were rounded from; other integers, and outputs of cases that round nothing, by being equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from joulegrid.errors import UsageError
from joulegrid.kernels.module import flat_tensors
from joulegrid.kernels.null_errors import NullErrors, null_errors
from joulegrid.kernels.problem import Output


@dataclass(frozen=True, slots=True)
class Exceeded:
    """One measure that is larger than allowed; `measure` may also be `shape`, `dtype` or `finite`."""

    output: int
    measure: str
    found: float | str
    allowed: float | str


@dataclass(frozen=True, slots=True)
class Reference:
    """What is known of one output before anything was evaluated in the case's dtype."""

    oracle: Any
    like: Any
    """A tensor of the shape and dtype that is expected."""
    output: Output = Output()
    exact: bool = False
    """Nothing is rounded but the oracle: the result is equal to it."""
    reduction: int = 1
    """Terms of the longest sum."""
    scores: Any = None
    """In float64: of an index output the scores of all choices, the last dimension being the choices; of a quantised
    one its numbers before they were rounded to integers."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one output is held against."""

    reference: Reference
    null: NullErrors | None
    """How much legitimate evaluations err, in the output or in its scores; `None` where it must be equal."""


def expectation(reference: Reference, fixed: Sequence[Any], drawn: Sequence[Any]) -> Expectation:
    """Prepare to compare one output with members of a null ensemble: their outputs or, where it has any, scores.

    `UsageError` where the oracle's choice is not the best by its own scores.
    """
    if reference.output.kind == "index":
        _require_best(reference)
    by_value = reference.like.is_floating_point() and not reference.exact
    if not reference.like.numel() or (reference.scores is None and not by_value):
        return Expectation(reference, None)
    truth = reference.oracle if reference.scores is None else reference.scores
    return Expectation(reference, null_errors(truth, reference.reduction, fixed, drawn))


def compare(candidate: Any, expected: Sequence[Expectation]) -> list[Exceeded]:
    """Return everything that is wrong with a candidate's outputs; nothing means that they pass."""
    tensors = flat_tensors(candidate)
    if len(tensors) != len(expected):
        return [Exceeded(-1, "outputs", f"{len(tensors)} tensors", f"{len(expected)} tensors")]
    wrong: list[Exceeded] = []
    for place, (tensor, expectation_) in enumerate(zip(tensors, expected, strict=True)):
        wrong += _compare(place, tensor, expectation_)
    return wrong


def _compare(place: int, tensor: Any, expected: Expectation) -> list[Exceeded]:
    reference = expected.reference
    for measure, found, allowed in (
        ("shape", list(tensor.shape), list(reference.like.shape)),
        ("dtype", tensor.dtype, reference.like.dtype),
    ):
        if found != allowed:
            return [Exceeded(place, measure, str(found), str(allowed))]
    if not tensor.numel():
        return []
    if expected.null is None:
        return _compare_exactly(place, tensor, reference)
    if reference.output.kind == "index":
        return _compare_indices(place, tensor, reference, expected.null)
    if reference.output.kind == "quantised":
        return _compare_quantised(place, tensor, reference, expected.null)
    unusual = expected.null.unusual(tensor)
    if unusual:
        return [Exceeded(place, "finite", f"{unusual} elements", "infinities and NaN where the oracle has them")]
    found = {name: abs(value) for name, value in expected.null.measures(tensor).items()}
    limits = expected.null.limits
    # Written so that a NaN exceeds.
    return [Exceeded(place, name, value, limits[name]) for name, value in found.items() if not value <= limits[name]]


def _compare_exactly(place: int, tensor: Any, reference: Reference) -> list[Exceeded]:
    wanted = reference.oracle.to(tensor.dtype)
    share = float(((tensor != wanted) & ~((tensor != tensor) & (wanted != wanted))).double().mean())
    name = "exact" if tensor.is_floating_point() else "integers"
    return [Exceeded(place, name, share, 0.0)] if share else []


def _compare_indices(place: int, tensor: Any, reference: Reference, null: NullErrors) -> list[Exceeded]:
    """Each choice scores as the best one of its rank, up to the errors that evaluations of both scores may have."""
    import torch

    choices = reference.scores.shape[-1]
    picks = tensor.reshape(*reference.scores.shape[:-1], -1).long()
    outside = int(((picks < 0) | (picks >= choices)).sum())
    repeated = int((picks.sort(-1).values.diff(dim=-1) == 0).sum())
    if outside or repeated:
        wanted = f"different ones of 0…{choices - 1}"
        return [Exceeded(place, "choices", f"{outside} outside, {repeated} twice", wanted)]
    best = _best(reference, picks.shape[-1])
    allowed = null.allowed().reshape(reference.scores.shape)
    gaps = (reference.scores.gather(-1, picks) - best.values).abs()
    gaps = torch.where(picks == best.indices, 0, gaps)
    return _worst(place, "score_gap", gaps, allowed.gather(-1, picks) + allowed.gather(-1, best.indices))


def _compare_quantised(place: int, tensor: Any, reference: Reference, null: NullErrors) -> list[Exceeded]:
    """Each integer is nearest to a number that legitimate evaluations may have had before rounding."""
    distances = (tensor.double() - reference.scores).abs()
    return _worst(place, "rounding_gap", distances, 0.5 + null.allowed().reshape(distances.shape))


def _worst(place: int, measure: str, found: Any, allowed: Any) -> list[Exceeded]:
    excess = (found - allowed).nan_to_num(nan=math.inf).flatten()
    at = int(excess.argmax())
    worst = Exceeded(place, measure, float(found.flatten()[at]), float(allowed.flatten()[at]))
    return [worst] if excess[at] > 0 else []


def _best(reference: Reference, count: int) -> Any:
    return reference.scores.topk(count, dim=-1, largest=reference.output.best == "highest")


def _require_best(reference: Reference) -> None:
    picks = reference.oracle.reshape(*reference.scores.shape[:-1], -1)
    best = _best(reference, picks.shape[-1]).values
    if not reference.scores.gather(-1, picks).equal(best):
        raise UsageError(
            f"outputs: best: {reference.output.best!r} was given, but what forward chooses in float64 does not have the"
            f" {reference.output.best} of the scores; correct `best` or `scores`"
        )
