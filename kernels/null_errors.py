"""What legitimate evaluations of one output err, and how far one more may go. No tolerance is written by hand.

Errors are taken from an oracle in float64 on every element, in units of what the null ensemble errs in the same row,
six ways: relative L2 of the whole and of each row, the 99.9th percentile and the maximum of the elements, and the mean
error, plain and along the sign of the element (a bias hides in none of the others; one towards zero hides in the plain
mean). A limit is the upper prediction limit of one more member: Student's t, at `FALSE_REJECTIONS`, from mean and
deviation over the drawn members, above the worst fixed member where that is worse than the mean. Sizes of errors enter
by the cube root of their square, which is nearly normal from one degree of freedom on (E. Wilson, M. Hilferty, "The
Distribution of Chi-square", PNAS 17, 1931); mean errors as they are.

A rounding floor is added as errors add, by squares: one more rounding of the dtype at the end, u/√3 with u half a step,
and √K half steps of float32, in which sums are made, for K terms (N. Higham, T. Mary, "A New Approach to Probabilistic
Rounding Error Analysis", SIAM J. Sci. Comput. 41, 2019: the constant before √K is 1). Sums in 16 bits have no room.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from joulegrid.student import student_t

FALSE_REJECTIONS = 1e-5
"""Of legitimate evaluations of one output, the share whose limits are meant to be exceeded. What is really refused is
measured by `benchmarks/judge_false_rejections.py`."""
MEASURES = ("l2", "row_l2", "p999", "maximum", "bias", "shrinkage")
SIGNED = ("bias", "shrinkage")
NORMAL_SEED = 0x6A6F756C
"""Any number that nobody draws a case's inputs with: torch's normal numbers of equal seeds are equal."""
TINY = 1e-100
"""Scale of an output that is zero everywhere: all that counts then is what members err. Its square is no zero."""
SINGLE_EPS = 2.0**-23
"""Step of float32 at 1."""


def null_errors(truth: Any, reduction: int, fixed: Sequence[Any], drawn: Sequence[Any]) -> NullErrors:
    """Return what an ensemble's members err against a float64 truth whose longest sum has `reduction` terms.

    `ValueError` for less than two drawn members.
    """
    import torch

    if len(drawn) < 2:
        raise ValueError(f"{len(drawn)} drawn members: a spread needs two at least")
    dtype = drawn[0].dtype
    rounding, summation = torch.finfo(dtype).eps / 2 / math.sqrt(3), math.sqrt(reduction) * SINGLE_EPS / 2
    floor = math.hypot(rounding, summation)
    frame = _frame(truth, [*fixed, *drawn])
    rows, scales = frame.null_scales([*fixed, *drawn])
    blank = NullErrors(frame, rows, scales, floor, {})
    ones = [blank.measures(member, floor) for member in fixed]
    others = [blank.measures(member, floor) for member in drawn]
    normal = [blank.measures_of(errors) for errors in frame.normal_errors(_hypot(scales, floor), len(drawn))]
    limits = {
        name: _limit(name, *([one[name] for one in group] for group in (ones, others, normal))) for name in MEASURES
    }
    for name in SIGNED:  # a rounding has no bias; errors of a sum are not independent
        limits[name] += (rounding / math.sqrt(truth.numel()) + summation) / math.hypot(float(scales.median()), floor)
    return NullErrors(frame, rows, scales, floor, limits)


def _limit(name: str, fixed: Sequence[float], drawn: Sequence[float], normal: Sequence[float]) -> float:
    """The upper limit of one more: from the drawn ones' spread, above their mean or above the worst fixed one.

    The spread is never below that of independent normal errors: few members can agree by chance.
    """
    signed = name in SIGNED
    power = 1.0 if signed else 2 / 3
    values = list(drawn) if signed else [value**power for value in drawn]
    mean, deviation = _moments(values)
    normal_mean, normal_deviation = _moments(normal if signed else [value**power for value in normal])
    deviation = max(deviation, normal_deviation if signed else mean * normal_deviation / normal_mean)
    share = FALSE_REJECTIONS / len(MEASURES)
    beyond = student_t(len(values) - 1, 1 - 2 * share) * deviation * math.sqrt(1 + 1 / len(values))
    return math.pow(max([abs(mean), *(abs(value) ** power for value in fixed)]) + beyond, 1 / power)


def _moments(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


@dataclass(frozen=True, slots=True)
class _Frame:
    """One output's oracle as rows, what its errors are relative to, and which elements are compared."""

    shape: tuple[int, ...]
    truth: Any
    usable: Any
    row_scale: Any
    element_scale: Any
    kinds: Any
    """Bits by element: the oracle or a member is finite, +∞, -∞ or NaN there."""

    def errors(self, tensor: Any) -> Any:
        import torch

        return torch.where(self.usable, tensor.reshape(self.shape).double() - self.truth, 0)

    def normal_errors(self, scales: Any, count: int) -> Iterator[Any]:
        """Independent normal errors of these scales, the same each time."""
        import torch

        generator = torch.Generator(device=self.truth.device).manual_seed(NORMAL_SEED)
        for _ in range(count):
            noise = torch.randn(self.shape, generator=generator, dtype=torch.float64, device=self.truth.device)
            yield noise * scales * self.element_scale

    def null_scales(self, members: Sequence[Any]) -> tuple[Any, Any]:
        """Root mean squares over all members: of each row's relative L2, and of the elements' errors in it.

        A row in which all were lucky has the rows' median. One more member is imagined that errs in each row as much
        as members do in the middle one, in absolute size: a row in which terms cancel has rare errors of that size.
        """
        import torch

        rows = torch.zeros(self.shape[0], dtype=torch.float64, device=self.truth.device)
        elements = rows.clone()
        for member in members:
            errors = self.errors(member)
            rows += (errors.square().mean(-1) / self.row_scale.square().squeeze(-1)) / len(members)
            elements += (errors / self.element_scale).square().mean(-1) / len(members)
        size, count = self.row_scale.squeeze(-1), len(members)

        def pooled(squares: Any) -> Any:
            imagined = (squares * size.square()).median() / size.square()
            return torch.maximum((count * squares + imagined) / (count + 1), squares.median()).sqrt()

        return pooled(rows), pooled(elements)[:, None]


def _frame(truth: Any, members: Sequence[Any]) -> _Frame:
    """Elements are relative to themselves or their row's root mean square; rows of zeros to the whole tensor's."""
    import torch

    rounded = truth.to(members[0].dtype)
    shape = (-1, truth.shape[-1] if truth.dim() else 1)
    usable, kinds = rounded.isfinite(), _kinds(rounded)
    for member in members:
        usable = usable & member.isfinite()
        kinds = kinds | _kinds(member)
    wanted = torch.where(usable, truth, 0).reshape(shape)
    whole = wanted.square().mean().sqrt().clamp(min=TINY)
    scale = wanted.square().mean(-1, keepdim=True).sqrt()
    scale = torch.where(scale > 0, scale, whole)
    elements = torch.maximum(wanted.abs(), scale)
    return _Frame(tuple(wanted.shape), wanted, usable.reshape(shape), scale, elements, kinds)


def _kinds(tensor: Any) -> Any:
    infinite = tensor.isinf()
    return (
        tensor.isfinite().int()
        + 2 * (infinite & (tensor > 0)).int()
        + 4 * (infinite & (tensor < 0)).int()
        + 8 * tensor.isnan().int()
    )


@dataclass(frozen=True, slots=True)
class NullErrors:
    """What legitimate evaluations err, by row, and how far a candidate's measures may go in these units."""

    frame: _Frame
    rows: Any
    scales: Any
    floor: float
    limits: dict[str, float]

    def measures(self, tensor: Any, floor: float = 0.0) -> dict[str, float]:
        """Return errors in units of the rows' null scale and floor; members have the floor added, and none is below."""
        return self.measures_of(self.frame.errors(tensor), floor)

    def measures_of(self, errors: Any, floor: float = 0.0) -> dict[str, float]:
        """Return the same of errors."""
        frame = self.frame
        rows = errors.square().mean(-1).sqrt() / frame.row_scale.squeeze(-1)
        relative = errors / frame.element_scale
        units = _hypot(self.scales, self.floor)
        ranked = (_hypot(relative, floor) / units).flatten().sort().values
        signed = relative / units
        return {
            "l2": math.hypot(
                float(signed.square().mean().sqrt()), floor * float(units.square().reciprocal().mean().sqrt())
            ),
            "row_l2": float((_hypot(rows, floor) / _hypot(self.rows, self.floor)).max()),
            "p999": float(ranked[min(len(ranked) - 1, math.ceil(0.999 * len(ranked)) - 1)]),
            "maximum": float(ranked[-1]),
            "bias": float(signed.mean()),
            "shrinkage": float((signed * frame.truth.sign()).mean()),
        }

    def unusual(self, tensor: Any) -> int:
        """Count elements that are infinite or NaN where neither the oracle nor a member is so."""
        return int(((_kinds(tensor) & self.frame.kinds) == 0).sum())

    def allowed(self) -> Any:
        """Return how far each element may lie from the oracle: not at all where no member ever errs."""
        if not self.rows.any():
            return self.frame.truth * 0
        return self.limits["maximum"] * _hypot(self.scales, self.floor) * self.frame.element_scale


def _hypot(errors: Any, floor: float) -> Any:
    return (errors.square() + floor**2).sqrt()
