"""The tree of arguments as a manifest writes it: tensors, values, formulas, lists and mappings of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from joulegrid.cases.contract import Section
from joulegrid.errors import UsageError
from joulegrid.kernels.problem import Arguments, Computed, Constant, Domain, Node, TensorSpec


class TensorSection(Section):
    """A tensor: a mapping that has `shape`."""

    shape: list[str | int]
    """Sizes: numbers or formulas over dims."""
    dtype: Literal["case", "fp32", "int64", "int32", "int8", "bool"] = "case"
    """`case` is the dtype that is judged."""
    domain: Domain = "real"
    """Where the numbers of a float tensor lie."""
    distributions: list[str] = Field(default=[])
    """Only these are drawn; none named means all."""
    scale: float = Field(default=1.0, gt=0)
    """Factor of a float tensor, before the domain."""
    low: str | int = 0
    """Smallest integer."""
    high: str | int = 2
    """Integers stay below it."""
    sprinkle: int | None = None
    """An integer that also occurs, in one place of ten."""
    fraction: float = Field(default=0.5, ge=0, le=1)
    """Share of true values of a bool tensor."""


def argument_tree(value: Any, path: str) -> Node:
    """Return the node for a manifest's value; `UsageError` names the field.

    `{shape: …}` is a tensor, `{dim: FORMULA}` a number, `{literal: VALUE}` anything as it is, `{dict: {…}}` a dict;
    lists are lists, and plain values are themselves.
    """
    if isinstance(value, list):
        return [argument_tree(item, f"{path}.{place}") for place, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return Constant(value)
    if "shape" in value:
        return _tensor(value, path)
    match dict(value):
        case {"dim": str() | int() as formula, **rest} if not rest:
            return Computed(str(formula))
        case {"literal": literal, **rest} if not rest:
            return Constant(literal)
        case {"dict": Mapping() as items, **rest} if not rest:
            return {str(name): argument_tree(item, f"{path}.{name}") for name, item in items.items()}
    given = ", ".join(map(str, value)) or "nothing"
    raise UsageError(
        f"{path}: a mapping with {given} was given; allowed are"
        " {shape: …}, {dim: FORMULA}, {literal: VALUE}, {dict: …}"
    )


def tensor_specs(arguments: Arguments) -> Iterator[tuple[str, TensorSpec]]:
    """Yield the tensors of an input tree with their paths in the manifest."""
    for place, node in enumerate(arguments.args):
        yield from _specs(node, f"inputs.args.{place}")
    for name, node in arguments.kwargs.items():
        yield from _specs(node, f"inputs.kwargs.{name}")


def _specs(node: Any, path: str) -> Iterator[tuple[str, TensorSpec]]:
    if isinstance(node, TensorSpec):
        yield path, node
    elif isinstance(node, list | dict):
        for name, item in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _specs(item, f"{path}.{name}")


def _tensor(value: Mapping[str, Any], path: str) -> TensorSpec:
    try:
        section = TensorSection.model_validate(dict(value))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join([path, *map(str, first["loc"])])
        allowed = ", ".join(TensorSection.model_fields)
        raise UsageError(
            f"{field}: {first['msg']} ({first['input']!r:.60} was given); a tensor has {allowed}"
        ) from error
    values = {name: getattr(section, name) for name in TensorSection.model_fields}
    return TensorSpec(**{**values, "shape": tuple(section.shape), "distributions": tuple(section.distributions)})
