"""A case's shapes by name: `tiny`, one of the weighted mix, or `scaled:NAME` for a card with little memory."""

from __future__ import annotations

from joulegrid.errors import UsageError
from joulegrid.kernels.problem import Problem, Shape

SCALED = "scaled:"


def named_shapes(problem: Problem) -> dict[str, Shape]:
    """Return name → shape, with each shape's share of the work that the case stands for; that of `tiny` is 1."""
    found = {"tiny": problem.tiny} | {shape.name: shape for shape in problem.shapes}
    return found | {f"{SCALED}{shape.name}": shape for shape in problem.scaled}


def shape_named(problem: Problem, name: str) -> Shape:
    """Return one shape; `UsageError` with the names that there are."""
    found = named_shapes(problem)
    if name not in found:
        raise UsageError(f"shape: {problem.name} has no shape {name!r}; choose one of {', '.join(found)}")
    return found[name]


def checked_dtype(problem: Problem, dtype: str | None) -> str:
    """Return the dtype, by default the case's first; `UsageError` with those that the case has."""
    if dtype is not None and dtype not in problem.dtypes:
        raise UsageError(f"dtype: {problem.name} has no {dtype!r}; choose one of {', '.join(problem.dtypes)}")
    return dtype or problem.dtypes[0]
