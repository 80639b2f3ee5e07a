"""Least squares with coefficients that are never negative, and their spread by a block bootstrap. Plain Python.

With at most four columns every active set can be tried, which is exact; scipy (0.5 s of import) would be the only use
of a dependency. Sums of products of a block are made once, so that a resample costs additions and one small solve.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

Row = tuple[float, ...]
"""Columns, and last what they are to explain."""
Matrix = list[list[float]]
SINGULAR = 1e-7
"""A pivot of the correlation matrix below this: a column is a combination of the others."""
RESAMPLES = 400


class CollinearError(ValueError):
    """The columns cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Non-negative coefficients and how sure they are."""

    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    """Over the resamples, corrected for the number of blocks."""
    r2: float
    """1 − residual sum of squares ÷ that around the mean."""
    freedom: int
    """Blocks − columns: degrees of freedom of an interval."""

    def spread(self, weights: Sequence[float]) -> float:
        """Return the standard error of Σ weight × coefficient."""
        n = len(weights)
        variance = sum(weights[i] * weights[j] * self.covariance[i][j] for i in range(n) for j in range(n))
        return math.sqrt(max(0.0, variance))


def fit(rows: Sequence[Row], block: int, seed: int = 0) -> Fit:
    """Fit the last column by the others; blocks of `block` neighbouring rows are resampled.

    Raises:
        CollinearError: when the columns cannot be told apart.
    """
    blocks = [_products(rows[start : start + block]) for start in range(0, len(rows), block)]
    whole = _sum(blocks)
    best = nonnegative(whole)
    generator = random.Random(seed)  # noqa: S311 - resampling, no secret; the same log gives the same interval
    drawn = []
    for _ in range(RESAMPLES):
        try:
            drawn.append(nonnegative(_sum(generator.choices(blocks, k=len(blocks)))))
        except CollinearError:  # by chance none of the blocks with one kind of step
            continue
    if len(drawn) < RESAMPLES // 2:
        raise CollinearError("most resamples of the log cannot tell its columns apart")
    n = len(blocks)
    return Fit(tuple(best), _covariance(drawn, n / max(1, n - 1)), _r2(rows, best), max(1, n - len(best)))


def nonnegative(products: Matrix) -> list[float]:
    """Return the coefficients ≥ 0 with the smallest sum of squares; `products` is XᵀX with Xᵀy as its last column.

    The free solution is the answer where nothing in it is negative; else the best of all active sets is.
    """
    n = len(products) - 1
    free = _solved(products, range(n))
    if all(value >= 0 for value in free):
        return free
    best, least = [0.0] * n, 0.0
    for size in range(1, n):
        for chosen in itertools.combinations(range(n), size):
            found = _solved(products, chosen)
            explained = -sum(value * products[column][n] for value, column in zip(found, chosen, strict=True))
            if all(value >= 0 for value in found) and explained < least:
                best, least = [0.0] * n, explained
                for value, column in zip(found, chosen, strict=True):
                    best[column] = value
    return best


def _products(rows: Sequence[Row]) -> Matrix:
    n = len(rows[0])
    return [[sum(row[i] * row[j] for row in rows) for j in range(n)] for i in range(n)]


def _sum(matrices: Sequence[Matrix]) -> Matrix:
    n = len(matrices[0])
    return [[sum(matrix[i][j] for matrix in matrices) for j in range(n)] for i in range(n)]


def _solved(products: Matrix, chosen: Sequence[int]) -> list[float]:
    """Solve the normal equations of some columns, scaled to a correlation matrix; `CollinearError` where singular."""
    scale = [math.sqrt(products[i][i]) for i in chosen]
    if not all(scale):
        raise CollinearError("a column is 0 throughout")
    system = [
        [*(products[i][j] / (a * b) for j, b in zip(chosen, scale, strict=True)), products[i][-1] / a]
        for i, a in zip(chosen, scale, strict=True)
    ]
    size = len(system)
    for column in range(size):
        pivot = system[column][column]
        if pivot < SINGULAR:
            raise CollinearError("a column is a combination of the others")
        for row in range(column + 1, size):
            factor = system[row][column] / pivot
            system[row] = [x - factor * y for x, y in zip(system[row], system[column], strict=True)]
    found = [0.0] * size
    for row in reversed(range(size)):
        known = sum(system[row][column] * found[column] for column in range(row + 1, size))
        found[row] = (system[row][-1] - known) / system[row][row]
    return [value / a for value, a in zip(found, scale, strict=True)]


def _covariance(drawn: Sequence[Sequence[float]], correction: float) -> tuple[tuple[float, ...], ...]:
    n = len(drawn[0])
    means = [sum(one[i] for one in drawn) / len(drawn) for i in range(n)]
    return tuple(
        tuple(
            correction * sum((one[i] - means[i]) * (one[j] - means[j]) for one in drawn) / (len(drawn) - 1)
            for j in range(n)
        )
        for i in range(n)
    )


def _r2(rows: Sequence[Row], coefficients: Sequence[float]) -> float:
    mean = sum(row[-1] for row in rows) / len(rows)
    around = sum((row[-1] - mean) ** 2 for row in rows)
    left = sum((row[-1] - sum(c * x for c, x in zip(coefficients, row, strict=False))) ** 2 for row in rows)
    return 1 - left / around if around > 0 else 0.0
