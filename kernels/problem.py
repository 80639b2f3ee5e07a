"""What a judge knows of a case: frozen values, and nothing of the manifest or the folder that they were read from.

Sizes are formulas over named dims (`joulegrid.kernels.formula`), so that one problem describes all of its shapes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from joulegrid.kernels.formula import evaluate, whole

Domain = Literal["real", "unit", "positive", "probability", "log_probability"]
"""Where a float tensor's numbers lie: anywhere, in (0, 1), above 0, or rows that sum to 1 and their logarithms."""
ToleranceClass = Literal["exact", "pointwise", "reduction", "contraction"]
OutputKind = Literal["value", "index", "quantised"]
Dims = Mapping[str, int]

ITEM_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
"""Dtypes that a case may declare, and the bytes of one number."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor among the arguments: its sizes as formulas, its dtype, and what it is filled with."""

    shape: tuple[str | int, ...]
    dtype: str = "case"
    """`case` (the dtype that is being judged), `fp32`, `int64`, `int32`, `int8` or `bool`."""
    domain: Domain = "real"
    distributions: tuple[str, ...] = ()
    """Those that are drawn; empty means all of `joulegrid.kernels.distributions`."""
    scale: float = 1.0
    low: str | int = 0
    high: str | int = 2
    """Integers are drawn from low ≤ i < high."""
    sprinkle: int | None = None
    """An integer that also occurs, such as the label that a loss ignores; it may lie outside low…high."""
    fraction: float = 0.5
    """Share of true values of a bool tensor."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal argument, handed over as it is."""

    value: Any


@dataclass(frozen=True, slots=True)
class Computed:
    """A number that follows from the dims, such as a constructor's width."""

    formula: str


Node = TensorSpec | Constant | Computed | list[Any] | dict[str, Any]
"""An argument; lists and dicts hold further nodes."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Positional and keyword arguments, as nodes or, once drawn, as tensors and values."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shape:
    """One set of dims with its share of the work that the case stands for."""

    name: str
    dims: Dims
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Range:
    """Dims that a hidden shape draws from: low ≤ n ≤ high, in steps of `multiple`."""

    low: int
    high: int
    multiple: int = 1

    def draw(self, random_numbers: random.Random) -> int:
        """Return one of the range's values."""
        first = -(-self.low // self.multiple)
        return self.multiple * random_numbers.randint(first, self.high // self.multiple)


@dataclass(frozen=True, slots=True)
class HiddenShapes:
    """A generator of shapes that a candidate's author does not know."""

    name: str
    dims: Mapping[str, Range | tuple[int, ...] | str]
    """A range, a choice, or a formula over the dims above it; what is not named is taken from the tiny shape."""

    def draw(self, tiny: Dims, seed: int) -> Shape:
        """Return one shape; the same for the same seed."""
        random_numbers = random.Random(f"{self.name}/{seed}")  # noqa: S311 - shapes, no secrets
        dims = dict(tiny)
        for name, source in self.dims.items():
            if isinstance(source, Range):
                dims[name] = source.draw(random_numbers)
            else:
                dims[name] = whole(source, dims) if isinstance(source, str) else random_numbers.choice(source)
        return Shape(self.name, dims)


@dataclass(frozen=True, slots=True)
class Output:
    """How one of the outputs, in the order in which a tree walk meets them, is to be compared."""

    kind: OutputKind = "value"
    scores: str | None = None
    """The module's method that returns, of an index, the score of every choice in the last dimension; of a quantised
    output, its numbers before they are rounded to integers."""
    best: Literal["lowest", "highest"] = "highest"


@dataclass(frozen=True, slots=True)
class Weights:
    """Where weights come from: a function of the case, or draws by name."""

    provider: str | None = None
    """`file.py:function` in the case's folder, called with the state's tensors and a seeded `torch.Generator`."""
    domains: Mapping[str, Domain] = field(default_factory=dict)
    """Pattern of names (`*.running_var`) → domain."""
    keep: tuple[str, ...] = ()
    """Patterns of names that stay as the constructor made them."""


@dataclass(frozen=True, slots=True)
class Problem:
    """All that has to be known to draw, run and judge a case."""

    name: str
    file: Path
    class_name: str
    init: Arguments
    inputs: Arguments
    dtypes: tuple[str, ...]
    shapes: tuple[Shape, ...]
    scaled: tuple[Shape, ...]
    """For cards with little memory."""
    tiny: Shape
    """For a CPU and for tests."""
    hidden: tuple[HiddenShapes, ...]
    bytes_formula: str
    """Bytes that must move at least: each input, weight and output once; `item` is the bytes of one number."""
    flops_formula: str
    reduction_formula: str | int = 1
    """Longest sum that one output number is made of; the rounding floor grows with its root."""
    tolerance: ToleranceClass = "reduction"
    outputs: tuple[Output, ...] = (Output(),)
    weights: Weights = Weights()
    atomics: bool = False
    """Repeats may differ in the last bits."""
    equivalent_mutants: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    """Hash of manifest, module and provider; drawn tensors are cached by it."""

    def bytes_moved(self, dims: Dims, dtype: str) -> int:
        """Return the least bytes moved for these dims and `fp32`, `fp16` or `bf16`."""
        return math.ceil(evaluate(self.bytes_formula, {**dims, "item": ITEM_BYTES[dtype]}))

    def flops(self, dims: Dims) -> int:
        """Return the floating-point operations for these dims."""
        return math.ceil(evaluate(self.flops_formula, dims))

    def reduction(self, dims: Dims) -> int:
        """Return the number of terms of the longest sum."""
        return max(1, math.ceil(evaluate(self.reduction_formula, dims)))
