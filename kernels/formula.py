"""Arithmetic over named whole numbers, as manifests write it: `2 * rows * width`. Parsed, never evaluated as Python."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from joulegrid.errors import UsageError

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "ceil": math.ceil, "sqrt": math.sqrt}
_LONGEST = 500
_GRAMMAR = "numbers, names of dims, + - * / // %, parentheses, min(), max(), ceil(), sqrt()"


def evaluate(formula: str | int | float, dims: Mapping[str, int]) -> int | float:
    """Return the value of a formula; `UsageError` names what is not allowed, unknown or not a finite number."""
    if not isinstance(formula, str):
        return formula
    if len(formula) > _LONGEST:
        raise UsageError(f"a formula has at most {_LONGEST} characters; this one has {len(formula)}")
    try:
        value: int | float = _value(ast.parse(formula.strip(), mode="eval").body, dims)
    except (SyntaxError, ValueError, TypeError, ZeroDivisionError, OverflowError, RecursionError) as error:
        why = error.msg if isinstance(error, SyntaxError) else error
        raise UsageError(f"formula {formula!r}: {why}; allowed are {_GRAMMAR}") from error
    if not math.isfinite(value):
        raise UsageError(f"formula {formula!r} gives {value}, which is no finite number")
    return value


def whole(formula: str | int, dims: Mapping[str, int]) -> int:
    """Return the value of a formula that must be a whole number, as the size of a dimension is."""
    value = evaluate(formula, dims)
    if value != int(value):
        raise UsageError(f"formula {formula!r} gives {value}; a size is a whole number (divide with //)")
    return int(value)


def names(formula: str | int | float) -> set[str]:
    """Return the names of dims that a formula uses; empty where it cannot be parsed."""
    try:
        tree = ast.parse(str(formula), mode="eval")
    except SyntaxError:
        return set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - _FUNCTIONS.keys()


def _value(node: ast.AST, dims: Mapping[str, int]) -> Any:
    match node:
        case ast.Constant(value=bool()):
            raise ValueError("true and false are no numbers")
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in dims:
            return dims[name]
        case ast.Name(id=name):
            raise ValueError(f"{name!r} is not among the dims {', '.join(sorted(dims)) or '(none)'}")
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            return _OPERATORS[type(sign)](_value(left, dims), _value(right, dims))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, dims)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_value(argument, dims) for argument in arguments))
    raise ValueError(f"{ast.unparse(node)!r} is not arithmetic")
