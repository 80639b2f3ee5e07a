"""The fields of `manifest.yaml` of a case that is a module: names and types. What they mean together: `manifest.py`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from joulegrid.cases.contract import Section
from joulegrid.kernels.problem import Domain, OutputKind, ToleranceClass


class ModuleSection(Section):
    """Which class of which file, and what its constructor is called with."""

    file: str = "model.py"
    """Python file in the case's folder."""
    class_name: str = Field(alias="class")
    """Name of the `torch.nn.Module` in it."""
    args: list[Any] = Field(default=[])
    """Positional arguments: values, or `{dim: FORMULA}`."""
    kwargs: dict[str, Any] = Field(default={})
    """Keyword arguments: values, or `{dim: FORMULA}`."""


class InputsSection(Section):
    """What `forward` is called with: tensors (`{shape: …}`), values, and lists or mappings of them."""

    args: list[Any] = Field(default=[])
    """Positional arguments."""
    kwargs: dict[str, Any] = Field(default={})
    """Keyword arguments."""


class ShapeSection(Section):
    """One set of dims."""

    name: str = Field(min_length=1)
    """A word for tables."""
    weight: float = Field(default=1.0, gt=0)
    """Share of the work that the case stands for; shares are relative to their sum."""
    dims: dict[str, int] = Field(min_length=1)
    """Name → size."""

    @field_validator("dims")
    @classmethod
    def _positive(cls, dims: dict[str, int]) -> dict[str, int]:
        return _checked_dims(dims)


class RangeSection(Section):
    """Sizes between two ends."""

    low: int = Field(ge=1)
    """Smallest size."""
    high: int = Field(ge=1)
    """Largest size."""
    multiple: int = Field(default=1, ge=1)
    """Every size is a multiple of it."""

    @model_validator(mode="after")
    def _not_empty(self) -> RangeSection:
        if self.high // self.multiple < -(-self.low // self.multiple):
            raise ValueError(f"no multiple of {self.multiple} lies between {self.low} and {self.high}")
        return self


FORMS = ("(range)", "(list)", "(formula)", "(size)")
"""Names of the forms of a hidden dim in pydantic's paths, which no manifest has."""


def _form(value: Any) -> str | None:
    """Which form a hidden dim was given in, so that only what is wrong with that one is told."""
    given = (RangeSection | dict, list, str, int)
    return next((form for form, kind in zip(FORMS, given, strict=True) if isinstance(value, kind)), None)


Source = Annotated[
    Annotated[RangeSection, Tag("(range)")]
    | Annotated[list[int], Tag("(list)")]
    | Annotated[str, Tag("(formula)")]
    | Annotated[int, Tag("(size)")],
    Discriminator(
        _form,
        custom_error_type="source",
        custom_error_message="a hidden dim is {low: …, high: …, multiple: …}, a list of sizes, a formula or a size",
    ),
]


class HiddenSection(Section):
    """A generator of shapes that a candidate's author does not see drawn."""

    name: str = Field(min_length=1)
    """A word for evidence."""
    dims: dict[str, Source] = Field(min_length=1)
    """Name → `{low, high, multiple}`, a list to choose from, a formula over dims above it, or a size."""


class OutputSection(Section):
    """How one output is compared."""

    kind: OutputKind = "value"
    """`value`, `index` (judged by the score of what was chosen) or `quantised` (by the number that was rounded)."""
    scores: str | None = None
    """A method of the class: of an index it scores every choice in its last dimension; of a quantised output it returns
    the numbers before they are rounded to integers."""
    best: Literal["lowest", "highest"] = "highest"
    """Of an index: which score is the best."""

    @model_validator(mode="after")
    def _scored(self) -> OutputSection:
        if (self.kind == "value") == (self.scores is not None):
            raise ValueError(
                "`scores` names a method of the class where kind is `index` or `quantised`, and is left out otherwise"
            )
        return self


class WeightsSection(Section):
    """Where weights come from; without it they are drawn by name."""

    provider: str | None = None
    """`FILE.py:FUNCTION` in the case's folder: `function(state, generator)` returns name → tensor."""
    domains: dict[str, Domain] = Field(default={})
    """Pattern of names → where their numbers lie."""
    keep: list[str] = Field(default=[])
    """Patterns of names that stay as the constructor made them."""

    @field_validator("provider")
    @classmethod
    def _file_and_function(cls, provider: str | None) -> str | None:
        if provider is not None and not re.fullmatch(r"[\w.-]+\.py:\w+", provider):
            raise ValueError("write FILE.py:FUNCTION, a file of the case's folder and a function in it")
        return provider


class ModuleManifest(Section):
    """`manifest.yaml` of a case of kind `module`."""

    kind: Literal["module"]
    """What is measured."""
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    """The folder's name."""
    description: str = Field(min_length=1)
    """One line for lists."""
    level: int = Field(ge=1, le=5)
    """1 pointwise, 2 a reduction, 3 windows, scans, gathers, 4 products with epilogues, 5 attention and blocks."""
    licence: str = "Apache-2.0"
    """Of `model.py`."""
    metadata: dict[str, Any] = Field(default={})
    """Anything else worth keeping; never read."""
    module: ModuleSection
    """The reference."""
    inputs: InputsSection
    """Arguments of `forward`."""
    dtypes: list[Literal["fp32", "fp16", "bf16"]] = Field(min_length=1)
    """Dtypes to be judged in."""
    shapes: list[ShapeSection] = Field(min_length=1)
    """The weighted mix."""
    scaled: list[ShapeSection] = Field(min_length=1)
    """The mix for a card with 24 GB."""
    tiny: dict[str, int] = Field(min_length=1)
    """Dims for a CPU: milliseconds."""
    hidden: list[HiddenSection] = Field(min_length=2)
    """Generators of hidden shapes."""
    bytes: str
    """Least bytes moved, over dims and `item`, the bytes of one number."""
    flops: str
    """Floating-point operations, over dims."""
    reduction: str | int = 1
    """Terms of the longest sum."""
    tolerance: ToleranceClass = "reduction"
    """How sums are made: `exact`, `pointwise`, `reduction` or `contraction`; never a number."""
    outputs: list[OutputSection] = Field(default=[OutputSection()], min_length=1)
    """One for each output, in order."""
    weights: WeightsSection = WeightsSection()
    """Where weights come from."""
    atomics: bool = False
    """Correct kernels may differ between repeats."""
    equivalent_mutants: dict[str, str] = Field(default={})
    """Mutant → why it computes the same."""

    @field_validator("tiny")
    @classmethod
    def _positive(cls, dims: dict[str, int]) -> dict[str, int]:
        return _checked_dims(dims)

    @model_validator(mode="after")
    def _same_dims(self) -> ModuleManifest:
        known = self.tiny.keys()
        for part, shapes in (("shapes", self.shapes), ("scaled", self.scaled)):
            for place, shape in enumerate(shapes):
                if shape.dims.keys() != known:
                    raise ValueError(f"{part}.{place}.dims has {listed(shape.dims)}; tiny has {listed(known)}")
        for place, hidden in enumerate(self.hidden):
            if not hidden.dims.keys() <= known:
                raise ValueError(f"hidden.{place}.dims has {listed(hidden.dims)}; tiny has {listed(known)}")
        return self


def _checked_dims(dims: dict[str, int]) -> dict[str, int]:
    for name, size in dims.items():
        if not name.isidentifier() or name == "item":
            raise ValueError(f"{name!r} cannot be a dim's name; take a word of letters, digits and _, not `item`")
        if size < 1:
            raise ValueError(f"{name} is {size}; a size is at least 1")
    return dims


def listed(words: Iterable[str]) -> str:
    """Return words as a message lists them."""
    return ", ".join(words) or "none"
