"""What may live on between two calls: weights, and nothing else."""

from __future__ import annotations

import ast

from joulegrid.kernels.judge.gate import words
from joulegrid.kernels.judge.gate.source import Found, Source

_MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_TOP = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
_KEPT = "keeps something between calls; a result is computed from its arguments every time"


def top_level(source: Source) -> Found:
    """Imports, constants, functions and classes: nothing that computes when the file is run."""
    for node in source.tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        if not isinstance(node, _TOP):
            yield node, "the top level holds imports, constants, functions and classes, and runs nothing"
        elif _value(node) is not None and not _constant(source, _value(node)):
            yield node, "computes something when the file is run; the top level holds constants"
    for owner in ast.walk(source.tree):
        if isinstance(owner, ast.ClassDef):
            for item in owner.body:
                if _mutable(_value(item)):
                    yield item, f"an attribute of the class that can be written to {_KEPT}; use a tuple"


def _value(node: ast.AST) -> ast.AST | None:
    return node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None


def _constant(source: Source, node: ast.AST | None) -> bool:
    if node is None or isinstance(node, ast.Lambda):
        return False
    if isinstance(node, ast.Call):
        path = source.path(node.func) or ""
        plain = isinstance(node.func, ast.Name) and node.func.id in words.PURE_CALLS
        known = path.startswith(("math.", "triton.language.")) or path in ("triton.next_power_of_2", "triton.cdiv")
        known = known or path in ("torch.device", "torch.finfo", "torch.iinfo")
        if not plain and not known and not _frozen_class(source, node.func):
            return False
    return all(_constant(source, child) for child in ast.iter_child_nodes(node))


def _frozen_class(source: Source, function: ast.AST) -> bool:
    """Whether this is a frozen dataclass of the file that only holds what it is given."""
    made = source.top_level.get(function.id) if isinstance(function, ast.Name) else None
    if not isinstance(made, ast.ClassDef) or any(getattr(item, "name", "") == "__post_init__" for item in made.body):
        return False
    return any(
        isinstance(one, ast.Call)
        and source.path(one.func) == "dataclasses.dataclass"
        and any(word.arg == "frozen" and getattr(word.value, "value", False) is True for word in one.keywords)
        for one in made.decorator_list
    )


def _mutable(node: ast.AST | None) -> bool:
    made = (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("list", "dict", "set", "bytearray")
    )
    return made or isinstance(node, _MUTABLE)


def mutable_constants(source: Source) -> Found:
    """Lists and dicts of the top level are read, never handed on: then nobody can write to them."""
    mutable = {name for name, value in source.top_level.items() if _mutable(value)} - {"PASSTHROUGH"}
    for node in ast.walk(source.tree):
        used = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in mutable
        if isinstance(node, ast.Name) and used and not _only_read(source, node):
            yield (
                node,
                f"{node.id} can be written to and lives as long as the process; use a tuple, or only read it",
            )


def _only_read(source: Source, node: ast.Name) -> bool:
    above = source.parents[node]
    if isinstance(above, ast.Subscript):
        return above.value is node and isinstance(above.ctx, ast.Load)
    if isinstance(above, ast.Attribute):
        return above.attr in words.READERS and isinstance(source.parents[above], ast.Call)
    if isinstance(above, ast.Call):
        return isinstance(above.func, ast.Name) and above.func.id in words.READING_FUNCTIONS
    return isinstance(above, ast.For | ast.comprehension | ast.Compare | ast.keyword | ast.Starred)


def writes(source: Source) -> Found:
    """No `global`, no attributes outside `__init__`, nothing written into what outlives the call."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Global | ast.Nonlocal):
            yield node, f"{'global' if isinstance(node, ast.Global) else 'nonlocal'}: {_KEPT}"
        elif isinstance(
            node, ast.Yield | ast.YieldFrom | ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith
        ):
            yield node, f"a function that waits and goes on {_KEPT}"
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            yield from _attribute_write(source, node)
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load) and _outlives(source, node.value):
            yield node, f"writes into {ast.unparse(node.value)}, which outlives the call: {_KEPT}"
        elif isinstance(node, ast.FunctionDef | ast.Lambda):
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if _mutable(default):
                    yield node, f"a default argument that can be written to {_KEPT}; use None or a tuple"


def _attribute_write(source: Source, node: ast.Attribute) -> Found:
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    if not source.in_constructor(node) or owner != "self":
        yield node, f"writes the attribute {ast.unparse(node)} outside __init__: {_KEPT}"
        return
    above = source.parents[node]
    if isinstance(above, ast.Assign | ast.AnnAssign) and _mutable(above.value):
        yield node, f"self.{node.attr} can be written to by later calls; use a tuple, or torch.nn.ModuleList"


def mutating_calls(source: Source) -> Found:
    """Outside `__init__`, no method that changes what outlives the call, and no `out=` into it."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or source.in_constructor(node) or source.in_kernel(node):
            continue
        if isinstance(node.func, ast.Attribute):
            name = node.func.attr
            changes = name in words.MUTATORS or (name.endswith("_") and not name.endswith("__"))
            if changes and _outlives(source, node.func.value):
                yield node, f".{name} changes {ast.unparse(node.func.value)}, which outlives the call: {_KEPT}"
        for keyword in node.keywords:
            if keyword.arg == "out" and _outlives(source, keyword.value):
                yield node, f"out={ast.unparse(keyword.value)} outlives the call: {_KEPT}"


def _outlives(source: Source, node: ast.AST, depth: int = 0) -> bool:
    """Whether a value may be something of the module object or the top level, under whatever local name."""
    if depth > 8:
        return True
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
            node = node.value
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in words.VIEWING_METHODS:
            node = node.func
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr" and node.args:
            node = node.args[0]
        elif isinstance(node, ast.NamedExpr):
            node = node.value
        elif isinstance(node, ast.IfExp):
            return _outlives(source, node.body, depth + 1) or _outlives(source, node.orelse, depth + 1)
        else:
            return False
    if node.id == "self" or (node.id in source.top_level and not _local(source, node)):
        return True
    return any(_outlives(source, value, depth + 1) for value in _values_of(source, node))


def _local(source: Source, name: ast.Name) -> bool:
    """Whether the function around a name has a meaning of its own for it."""
    return any(
        isinstance(node, ast.Name) and node.id == name.id and isinstance(node.ctx, ast.Store)
        for function in source.functions(name)
        for node in ast.walk(function)
    ) or any(argument.arg == name.id for function in source.functions(name) for argument in function.args.args)


def _values_of(source: Source, name: ast.Name) -> list[ast.AST]:
    """What is assigned to a local name as it stands, in the functions around."""
    found: list[ast.AST] = []
    for function in source.functions(name):
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and any(_named(target, name.id) for target in node.targets):
                plain = isinstance(node.value, ast.Attribute | ast.Subscript | ast.Name | ast.IfExp)
                viewing = (
                    isinstance(node.value, ast.Call) and getattr(node.value.func, "attr", "") in words.VIEWING_METHODS
                )
                if (plain or viewing) and not _named(node.value, name.id):
                    found.append(node.value)
    return found


def _named(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
