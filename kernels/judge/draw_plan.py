"""The draws that a candidate is tried on in one dtype: all of them follow from one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from joulegrid.kernels.distributions import DISTRIBUTIONS
from joulegrid.kernels.draw import LAYOUTS, Draw, Layout
from joulegrid.kernels.judge.limits import Checks
from joulegrid.kernels.problem import Problem, Shape

LEAST_DRAWS = 16
"""As many draws for each dtype: every distribution of `DISTRIBUTIONS` occurs."""
_PER_GENERATOR = 2
STRETCH, STRETCH_WITHOUT_SUMS = (22, 40), (5, 8)
"""A stretched shape is so many times as long as the tiny one: rows of 48 numbers become longer than a block of 1024.
Without sums there are more programs, each of which takes milliseconds where it is interpreted."""
STRETCHED_FLOPS, STRETCHED_BYTES = 20e6, 1 << 20
"""More is not tried."""


@dataclass(frozen=True, slots=True)
class PlannedDraw:
    """A draw, and which of the shapes it is on; draws on one shape follow each other and share a module."""

    shape: Shape
    draw: Draw
    group: int


def planned_draws(problem: Problem, dtype: str, seed: int, count: int, checks: Checks) -> Iterator[PlannedDraw]:
    """Yield draws on the tiny shape, on hidden ones and on a stretched one, in every layout and distribution.

    The first two draws on a shape lie alike, so that other numbers come to the addresses of the first.
    """
    numbers = random.Random(seed)  # noqa: S311 - seeded from the system's entropy, to be repeated
    shapes = _shapes(problem, numbers, checks)
    distributions = _distributions(count, numbers, checks)
    layouts = _layouts(numbers, checks)
    sizes = [len(range(place, count, len(shapes))) for place in range(len(shapes))]
    number = 0
    for group, (shape, size) in enumerate(zip(shapes, sizes, strict=True)):
        for place in range(size):
            layout = layouts[(group + max(0, place - 1)) % len(layouts)]
            draw = Draw(shape.dims, dtype, numbers.getrandbits(40), distributions[number], layout)
            yield PlannedDraw(shape, draw, group)
            number += 1


def _shapes(problem: Problem, numbers: random.Random, checks: Checks) -> list[Shape]:
    shapes = [problem.tiny]
    if checks.hidden_shapes:
        hidden = [one for one in problem.hidden for _ in range(_PER_GENERATOR)]
        shapes += [one.draw(problem.tiny.dims, numbers.getrandbits(48)) for one in hidden]
        shapes += _stretched(problem, numbers)
    return shapes


def _stretched(problem: Problem, numbers: random.Random) -> list[Shape]:
    """The tiny shape with one size many times as large, if any is summed over that: past a kernel's first block.

    None where no size is so much larger in the shapes that are timed, or where it could not be tried quickly.
    """
    tiny, reduction = problem.tiny.dims, problem.reduction(problem.tiny.dims)
    longest = {name: max(shape.dims[name] for shape in problem.shapes) for name in tiny}
    summed = [name for name in tiny if problem.reduction({**tiny, name: 2 * tiny[name]}) > reduction]
    low, high = STRETCH if summed else STRETCH_WITHOUT_SUMS
    names = [name for name in summed or tiny if longest[name] >= low * tiny[name]]
    for name in numbers.sample(names, len(names)):
        dims = {**tiny, name: numbers.randint(low, min(high, longest[name] // tiny[name])) * tiny[name]}
        if problem.flops(dims) <= STRETCHED_FLOPS and problem.bytes_moved(dims, "fp32") <= STRETCHED_BYTES:
            return [Shape("stretched", dims)]
    return []


def _distributions(count: int, numbers: random.Random, checks: Checks) -> list[str]:
    if not checks.distributions:
        return ["normal"] * count
    found: list[str] = []
    while len(found) < count:
        found += numbers.sample(list(DISTRIBUTIONS), len(DISTRIBUTIONS))
    return found[:count]


def _layouts(numbers: random.Random, checks: Checks) -> list[Layout]:
    return numbers.sample(LAYOUTS, len(LAYOUTS)) if checks.layouts else ["contiguous"]
