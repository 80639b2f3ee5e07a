"""In which order the cycles visit the experiments. Pure; the same inputs give the same order on any machine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from joulegrid.jobs.plan.permutation import Permutation

LATIN_SQUARE_LIMIT = 64
"""Above this many experiments `latin_square` falls back to shuffled blocks: a balance would need as many cycles."""
SHUFFLED_LISTS = 100_000
"""Above this many experiments a shuffled cycle is computed value by value: a list of 10⁶ takes 0.6 s and 40 MB."""


@dataclass(frozen=True, slots=True)
class Order:
    """A cycle order over `n` experiments; iterating yields (experiment, cycle)."""

    kind: str
    n: int
    n_cycles: int
    seed: int

    def __iter__(self) -> Iterator[tuple[int, int]]:
        if self.kind == "sequential":
            return ((index, cycle) for index in range(self.n) for cycle in range(self.n_cycles))
        return ((index, cycle) for cycle in range(self.n_cycles) for index in self.row(cycle))

    def __len__(self) -> int:
        return self.n * self.n_cycles

    def row(self, cycle: int) -> Sequence[int]:
        """Return the experiments of one cycle in their order; no more than 100,000 of them are in memory."""
        if self.kind == "reversed" and cycle % 2:
            return range(self.n - 1, -1, -1)
        if self.kind == "shuffled" or (self.kind == "latin_square" and self.n > LATIN_SQUARE_LIMIT):
            return _shuffled(self.n, self.seed + cycle)
        if self.kind == "latin_square":
            return williams_row(self.n, cycle)
        return range(self.n)

    @property
    def note(self) -> str | None:
        """Say where the number of cycles does not complete the balance that the order promises."""
        if self.kind != "latin_square":
            return None
        if self.n > LATIN_SQUARE_LIMIT:
            return (
                f"latin_square: {self.n} experiments are more than {LATIN_SQUARE_LIMIT}; each cycle is shuffled instead"
            )
        rows = williams_rows(self.n)
        if self.n_cycles % rows:
            return f"latin_square: {self.n_cycles} cycles do not complete a balance; {rows} (or a multiple) would"
        return None


def williams_rows(n: int) -> int:
    """Return how many rows Williams' design has: n for even n, 2n for odd n (the square and its mirror)."""
    return n if n % 2 == 0 or n == 1 else 2 * n


def williams_row(n: int, row: int) -> list[int]:
    """Return one row of Williams' design, in which each ordered pair of neighbours occurs equally often.

    Source: E. J. Williams, Experimental designs balanced for the estimation of residual effects of treatments,
    Australian Journal of Scientific Research A 2 (1949) 149–168. First row 0, n-1, 1, n-2, …; each further row
    adds one modulo n; for odd n the mirrored square follows.
    """
    row %= williams_rows(n)
    first = [position // 2 if position % 2 == 0 else n - (position + 1) // 2 for position in range(n)]
    shifted = [(value + row) % n for value in first]
    return shifted[::-1] if row >= n else shifted


def _shuffled(n: int, seed: int) -> Sequence[int]:
    if n > SHUFFLED_LISTS:
        return Permutation(n, seed)
    order = list(range(n))
    random.Random(seed).shuffle(order)  # noqa: S311 - an experimental order, no secret
    return order
