"""Which values may live longer than one call, under whatever local name: parts of the module object, the top level."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from joulegrid.kernels.judge.gate import words
from joulegrid.kernels.judge.gate.source import Function, Source

_DEEPEST = 8


def outlives(source: Source, node: ast.AST, depth: int = 0) -> bool:
    """Tell whether a value may be something of the module object or the top level; when in doubt, yes."""
    if depth > _DEEPEST:
        return True
    if isinstance(node, ast.Name):
        return _name_outlives(source, node, depth)
    return any(outlives(source, part, depth + 1) for part in _parts(source, node))


def bound_in(function: ast.AST) -> set[str]:
    """Return the names that a function gives a meaning to: arguments, and what it assigns."""
    stored = {one.id for one in ast.walk(function) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    return stored | {one.arg for one in ast.walk(function) if isinstance(one, ast.arg)}


def _parts(source: Source, node: ast.AST) -> Iterator[ast.AST]:
    """What a value may be, or may be a part or a view of."""
    match node:
        case ast.Attribute(value=value) | ast.Subscript(value=value) | ast.Starred(value=value):
            yield value
        case ast.NamedExpr(value=value):
            yield value
        case ast.IfExp(body=body, orelse=orelse):
            yield from (body, orelse)
        case ast.BoolOp(values=values) | ast.Tuple(elts=values) | ast.List(elts=values) | ast.Dict(values=values):
            yield from values
        case ast.Call(func=ast.Name("getattr" | "next"), args=[owner, *_]):
            yield owner
        case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in words.VIEWING_METHODS:
            yield owner
        case ast.Call(func=function):
            if _own_function(source, function) is not None:
                yield from (*node.args, *(one.value for one in node.keywords))


def _name_outlives(source: Source, name: ast.Name, depth: int) -> bool:
    if name.id == "self" or (name.id in source.top_level and not _local(source, name)):
        return True
    if any(outlives(source, value, depth + 1) for value in _values_of(source, name)):
        return True
    if any(name.id in _arguments(one) and _handed_on(source, one) for one in source.functions(name)):
        return True  # whoever calls it may hand over anything
    return any(outlives(source, given, depth + 1) for given in _given_for(source, name))


def _local(source: Source, name: ast.Name) -> bool:
    """Whether the function around a name has a meaning of its own for it."""
    return any(name.id in bound_in(function) for function in source.functions(name))


def _values_of(source: Source, name: ast.Name) -> Iterator[ast.AST]:
    """What is assigned to a local name in the functions around, alone or among others, or what it runs through."""
    for function in source.functions(name):
        for node in ast.walk(function):
            for target, value in _assigned(node):
                if _mentions(target, name.id) and not (isinstance(value, ast.Name) and value.id == name.id):
                    yield value


def _assigned(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((target, value) for target in targets)
        case ast.AnnAssign(target=target, value=ast.AST() as value) | ast.NamedExpr(target=target, value=value):
            yield target, value
        case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
            yield target, value
        case ast.withitem(optional_vars=ast.AST() as target, context_expr=value):
            yield target, value


def _mentions(target: ast.AST, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(target))


def _given_for(source: Source, name: ast.Name) -> Iterator[ast.AST]:
    """What calls in the file hand over for a name that is an argument of one of its functions."""
    for function in source.functions(name):
        if isinstance(function, ast.FunctionDef) and function.name != "forward":
            names = _arguments(function)
            if name.id in names:
                for call in _calls_of(source, function):
                    yield from _handed_over(call, names, name.id)


def _arguments(function: Function) -> list[str]:
    return [one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg)]


def _handed_on(source: Source, function: Function) -> bool:
    """Whether a function is not only called by its name: a lambda, or one that is used as a value."""
    if isinstance(function, ast.Lambda):
        return True
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name) and node.id == function.name and isinstance(node.ctx, ast.Load):
            above = source.parents[node]
            if not (isinstance(above, ast.Call) and above.func is node) and not isinstance(above, ast.Subscript):
                return True
    return False


def _calls_of(source: Source, function: Function) -> Iterator[ast.Call]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _own_function(source, node.func) is function:
            yield node


def _handed_over(call: ast.Call, names: list[str], name: str) -> Iterator[ast.AST]:
    """Arguments of a call that may be this one; of a method the first name is its object."""
    plain = not any(isinstance(one, ast.Starred) for one in call.args)
    method = isinstance(call.func, ast.Attribute) or (isinstance(call.func, ast.Name) and call.func.id[:1].isupper())
    first = names.index("self") + 1 if "self" in names and method else 0
    place = names.index(name) - first
    yield from call.args[place : place + 1] if plain and place >= 0 else call.args
    yield from (one.value for one in call.keywords if one.arg in (name, None))


def _own_function(source: Source, function: ast.AST) -> ast.FunctionDef | None:
    """The function or method of the file that a call may mean, by its name."""
    name = function.attr if isinstance(function, ast.Attribute) else source.name_of(function)
    if isinstance(function, ast.Attribute) and source.path(function) is not None:
        return None
    made = source.top_level.get(name)
    if isinstance(made, ast.ClassDef):
        return next((one for one in made.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    return next((one for one in ast.walk(source.tree) if isinstance(one, ast.FunctionDef) and one.name == name), None)
