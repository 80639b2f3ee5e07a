"""The space of a search: the sweep's axes, with ranges beside lists. Pure; who samples it is no matter here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite
from typing import Any

from joulegrid.jobs.plan.grid import Axis, GrammarError, Segment, shown
from joulegrid.jsontypes import Json

_KEYS = {"low", "high", "step", "log"}


@dataclass(frozen=True, slots=True)
class Range:
    """Whole or real numbers between two ends, both included."""

    path: str
    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False
    """Equal ratios are equally likely, instead of equal differences."""

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are drawn: ends and step are all written without a decimal point."""
        return all(isinstance(end, int) for end in (self.low, self.high, self.step or 1))

    @property
    def count(self) -> int | None:
        """Number of values; `None` for a continuum."""
        if self.is_whole or self.step is not None:
            return floor((self.high - self.low) / (self.step or 1) + 1e-9) + 1
        return None

    @property
    def ends(self) -> list[int | float]:
        """The two ends, by which a range is checked without a value being drawn."""
        return [self.low, self.high] if self.high != self.low else [self.low]

    def words(self) -> str:
        """Say the range as the study file does."""
        more = f", step {self.step:g}" if self.step is not None else ", log" if self.log else ""
        return f"{self.low:g} … {self.high:g}{more}"


Dimension = Axis | Range
"""An axis of which each experiment takes one alternative, or a range of which it takes one number."""


@dataclass(frozen=True, slots=True)
class Space:
    """The dimensions of a search."""

    dimensions: tuple[Dimension, ...]

    @property
    def n_points(self) -> int | None:
        """Number of points, refused and equivalent ones included; `None` where a range is a continuum."""
        product = 1
        for one in self.dimensions:
            count = len(one.patches) if isinstance(one, Axis) else one.count
            if count is None:
                return None
            product *= count
        return product

    def words(self) -> list[tuple[str, str]]:
        """Return (name, what it may be) of each dimension."""
        return [(_name(one), f"{len(one.patches)} values" if isinstance(one, Axis) else one.words()) for one in self]

    def __iter__(self) -> Any:
        return iter(self.dimensions)


def ranges(sweep: Mapping[str, Any]) -> dict[str, Range]:
    """Return the ranges of a sweep by path; `GrammarError` for one that says nothing."""
    return {path: _range(path, value) for path, value in sweep.items() if is_range(value)}


def is_range(value: Any) -> bool:
    """Whether a value of the sweep is meant as a range: a mapping with an end."""
    return isinstance(value, Mapping) and bool({"low", "high"} & value.keys())


def listed(sweep: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sweep with the two ends in the place of each range, so that it can be read as a grid's."""
    known = ranges(sweep)
    return {path: known[path].ends if path in known else value for path, value in sweep.items()}


def space_of(segment: Segment, sweep: Mapping[str, Any]) -> Space:
    """Return the space of a study whose `listed` sweep made the segment."""
    known = ranges(sweep)
    return Space(tuple(known.get(axis.name, axis) for axis in segment.axes))


def _name(dimension: Dimension) -> str:
    return dimension.name if isinstance(dimension, Axis) else dimension.path


def _range(path: str, given: Mapping[str, Any]) -> Range:
    problem = _problem(given)
    if problem is not None:
        raise GrammarError(f"sweep.{path}: given {shown(dict(given))}; {problem}")
    return Range(path, given["low"], given["high"], given.get("step"), bool(given.get("log", False)))


def _problem(given: Mapping[str, Any]) -> str | None:
    numbers: Sequence[Json] = [given.get("low"), given.get("high"), given.get("step", 1)]
    if given.keys() - _KEYS:
        return f"a range has low, high, step and log, not {', '.join(sorted(map(str, given.keys() - _KEYS)))}"
    if not all(_is_number(one) for one in numbers):
        return "a range has two finite numbers low and high, and step is one where it is given"
    low, high, step = numbers
    if low > high or step <= 0:
        return "low must not be above high, and step is positive"
    if not isinstance(given.get("log", False), bool):
        return "log is true or false"
    if given.get("log") and ("step" in given or low <= 0):
        return "log needs a low above 0 and no step"
    return None


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
