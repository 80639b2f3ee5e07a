"""Bias, spread and coverage of answers whose truth is known."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What one reader said of one window."""

    reader: str
    round: int
    mode: str
    load: str
    seconds: float
    truth_j: float
    energy_j: float | None
    low_j: float | None = None
    high_j: float | None = None
    source: str | None = None
    flags: tuple[str, ...] = ()

    @property
    def error(self) -> float | None:
        """(Said − true) ÷ true."""
        return None if self.energy_j is None else self.energy_j / self.truth_j - 1

    @property
    def half(self) -> float | None:
        """Half of the interval's width ÷ true."""
        return None if self.low_j is None or self.high_j is None else (self.high_j - self.low_j) / 2 / self.truth_j

    @property
    def covered(self) -> bool | None:
        """Whether the truth lies in the stated interval."""
        if self.low_j is None or self.high_j is None:
            return None
        return self.low_j <= self.truth_j <= self.high_j


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, linear between neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def row(answers: Sequence[Answer]) -> dict[str, Any]:
    """Summarise; errors and widths in percent of the truth."""
    errors = [100 * answer.error for answer in answers if answer.error is not None]
    sizes = [abs(error) for error in errors]
    covered = [answer.covered for answer in answers if answer.covered is not None]
    widths = [
        100 * (answer.high_j - answer.low_j) / answer.truth_j
        for answer in answers
        if answer.high_j is not None and answer.low_j is not None
    ]
    used = [abs(a.error) / half for a in answers if a.error is not None and (half := a.half)]
    flags = sorted({flag for answer in answers for flag in answer.flags})
    return {
        "n": len(answers),
        "unknown": len(answers) - len(errors),
        "bias_pct": statistics.fmean(errors) if errors else None,
        "median_abs_pct": statistics.median(sizes) if sizes else None,
        "p95_abs_pct": quantile(sizes, 0.95) if sizes else None,
        "p95_abs_pct_by_round": _by_round(answers),
        "max_abs_pct": max(sizes, default=None),
        "coverage": sum(covered) / len(covered) if covered else None,
        "width_pct_median": statistics.median(widths) if widths else None,
        "width_used_p95": quantile(used, 0.95) if used else None,
        "sources": sorted({answer.source for answer in answers if answer.source}),
        "flags": {flag: sum(flag in answer.flags for answer in answers) for flag in flags},
    }


def _by_round(answers: Sequence[Answer]) -> list[float]:
    rounds = defaultdict(list)
    for answer in answers:
        if answer.error is not None:
            rounds[answer.round].append(abs(100 * answer.error))
    return [quantile(sizes, 0.95) for _, sizes in sorted(rounds.items())]


def table(answers: Iterable[Answer], key: Callable[[Answer], tuple[Any, ...]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Summarise each group."""
    groups = defaultdict(list)
    for answer in answers:
        groups[key(answer)].append(answer)
    return {name: row(groups[name]) for name in sorted(groups)}


def line(name: str, found: dict[str, Any]) -> str:
    """One line for a person."""

    def number(value: float | None, form: str) -> str:
        return "–".rjust(8) if value is None else format(value, form).rjust(8)

    cells = [number(found[key], ".3f") for key in ("bias_pct", "median_abs_pct", "p95_abs_pct")]
    cells += [number(found["coverage"], ".1%"), number(found["width_pct_median"], ".2f")]
    cells += [number(found["width_used_p95"], ".2f")]
    return f"{name:44} {found['n']:5} {found['unknown']:4} " + " ".join(cells)


HEAD = (
    f"{'':44} {'n':>5} {'null':>4} {'bias %':>8} {'median':>8} {'p95 %':>8} {'covered':>8} {'width %':>8} {'used':>8}"
)
