"""What may live on between two calls: weights, and nothing else."""

from __future__ import annotations

import ast

from joulegrid.kernels.judge.gate import words
from joulegrid.kernels.judge.gate.lifetimes import bound_in, outlives
from joulegrid.kernels.judge.gate.source import Found, Source

_MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_IN_CLASS = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.Pass)
_TOP = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
_CONSUMING = ("tuple", "list", "dict", "set", "frozenset", "sum", "min", "max", "any", "all", "sorted", "len")
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


def _holds_mutable(node: ast.AST | None) -> bool:
    match node:
        case ast.Tuple(elts=parts) | ast.BoolOp(values=parts):
            return any(map(_holds_mutable, parts))
        case ast.IfExp(body=left, orelse=right) | ast.BinOp(left=left, right=right):
            return _holds_mutable(left) or _holds_mutable(right)
        case ast.NamedExpr(value=value) | ast.Starred(value=value):
            return _holds_mutable(value)
    return _mutable(node)


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


def class_bodies(source: Source) -> Found:
    """Methods and constants: nothing that computes while the class is made."""
    for owner in ast.walk(source.tree):
        for item in owner.body if isinstance(owner, ast.ClassDef) else ():
            documents = isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)
            value = _value(item)
            if not documents and not isinstance(item, _IN_CLASS):
                yield item, "the body of a class holds methods and constants, and runs nothing"
            elif value is not None and not _constant(source, value):
                yield item, f"an attribute of the class that is computed {_KEPT}; write it in __init__"


def closures(source: Source) -> Found:
    """Functions that are made in `__init__` see nothing of its local names, which they could write to."""
    for node in ast.walk(source.tree):
        outer = source.function(node)
        if isinstance(node, ast.Lambda | ast.FunctionDef) and outer is not None and source.in_constructor(node):
            local = bound_in(outer)
            used = [one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)]
            shared = [name for name in used if name in local and name not in bound_in(node)]
            if shared:
                yield node, f"a function of __init__ that holds {shared[0]} {_KEPT}; write a method"


def iterators(source: Source) -> Found:
    """Nothing that counts how often it was asked is given a name in `__init__`, or returned, or asked for more."""
    for node in ast.walk(source.tree):
        made = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in words.ITERATORS
        above = source.parents.get(node)
        if made or isinstance(node, ast.GeneratorExp):
            called = above.func if isinstance(above, ast.Call) else None
            consumed = isinstance(called, ast.Name) and called.id in (*_CONSUMING, *words.ITERATORS)
            consumed = consumed or (called is not None and source.module_class(called))
            named = source.in_init(node) and not isinstance(above, ast.For | ast.comprehension | ast.Starred)
            if not consumed and (named or isinstance(above, ast.Return | ast.Lambda)):
                yield node, f"an iterator {_KEPT}; make a tuple of it"
        elif isinstance(node, ast.Call) and source.name_of(node.func) == "next" and outlives(source, node):
            yield node, f"next of what outlives the call: {_KEPT}"


def random_numbers(source: Source) -> Found:
    """Random numbers are for initial weights alone."""
    for node in ast.walk(source.tree):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        path = source.path(node) or ""
        drawn = name in words.RANDOM if isinstance(node, ast.Attribute) else path.rpartition(".")[2] in words.RANDOM
        if drawn and not source.in_constructor(node) and not source.in_kernel(node):
            yield node, f"{ast.unparse(node)} draws numbers, which tell calls apart; a result is the same every time"


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
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load) and outlives(source, node.value):
            yield node, f"writes into {ast.unparse(node.value)}, which outlives the call: {_KEPT}"
        elif isinstance(node, ast.FunctionDef | ast.Lambda):
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if _mutable(default):
                    yield node, f"a default argument that can be written to {_KEPT}; use None or a tuple"


def sums_in_place(source: Source) -> Found:
    """No `w += 1` on a name for what outlives the call."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.AugAssign) or not isinstance(node.target, ast.Name):
            continue
        if not source.in_constructor(node) and not source.in_kernel(node) and outlives(source, node.target):
            yield node, f"changes {node.target.id}, which may be what outlives the call: {_KEPT}"


def _attribute_write(source: Source, node: ast.Attribute) -> Found:
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    if not source.in_init(node) or owner != "self":
        yield node, f"writes the attribute {ast.unparse(node)} outside __init__: {_KEPT}"
        return
    above = source.parents[node]
    if isinstance(above, ast.Assign | ast.AnnAssign) and _holds_mutable(above.value):
        yield node, f"self.{node.attr} can be written to by later calls; use a tuple, or torch.nn.ModuleList"


def mutating_calls(source: Source) -> Found:
    """Outside `__init__`, no function or method that changes what outlives the call."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or source.in_constructor(node) or source.in_kernel(node):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else source.name_of(node.func)
        if name in words.REGISTERING:
            yield node, f".{name} outside __init__: {_KEPT}"
        in_place = name.endswith("_") and not name.endswith("__")
        in_place = in_place or any(one.arg == "inplace" and not _false(one.value) for one in node.keywords)
        if isinstance(node.func, ast.Attribute) and source.path(node.func) is None:
            if (in_place or name in words.MUTATORS) and outlives(source, node.func.value):
                yield node, f".{name} changes {ast.unparse(node.func.value)}, which outlives the call: {_KEPT}"
        elif (in_place or name in words.MUTATORS) and any(outlives(source, one) for one in node.args[:1]):
            yield node, f"{name} changes {ast.unparse(node.args[0])}, which outlives the call: {_KEPT}"
        for keyword in node.keywords:
            if keyword.arg in ("out", None) and outlives(source, keyword.value):
                yield node, f"{ast.unparse(keyword)} outlives the call: {_KEPT}"


def changed_modules(source: Source) -> Found:
    """No method that changes a module as a whole."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or source.in_constructor(node):
            continue
        owner, name = node.func.value, node.func.attr
        thrown_away = isinstance(source.parents[node], ast.Expr)
        cast = name in words.CASTS and (thrown_away or getattr(owner, "attr", "") in source.module_attributes)
        if (name in words.SWITCHES or cast) and source.path(node.func) is None and outlives(source, owner):
            yield node, f".{name} changes {ast.unparse(owner)}, which outlives the call: {_KEPT}"


def writing_options(source: Source) -> Found:
    """No function of torch that is told to write into its arguments."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and (source.path(node.func) or "").startswith("torch."):
            place = words.WRITING_FUNCTIONS.get(node.func.attr if isinstance(node.func, ast.Attribute) else "", 99)
            told = [
                *node.args[place : place + 1],
                *(one.value for one in node.keywords if one.arg in words.WRITING_OPTIONS),
            ]
            if any(not isinstance(one, ast.Constant) or one.value not in (False, None) for one in told):
                yield node, f"{ast.unparse(node.func)} may write into its arguments when told so: {_KEPT}"


def _false(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
