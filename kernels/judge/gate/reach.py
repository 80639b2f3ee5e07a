"""What a candidate may reach: modules, builtins, names of torch and triton, attributes, decorators, base classes."""

from __future__ import annotations

import ast

from joulegrid.kernels.judge.gate import modules, words
from joulegrid.kernels.judge.gate.source import Found, Source


def imports(source: Source) -> Found:
    """Modules of the list alone, by their names."""
    allowed = "torch, torch.nn, triton, triton.language, math, typing, dataclasses"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                if one.name not in words.MODULES:
                    yield node, f"imports {one.name}; a candidate may import {allowed}"
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module not in words.MODULES:
                yield node, f"imports from {node.module or '.'}; a candidate may import {allowed}"
            elif any(one.name == "*" for one in node.names):
                yield node, "imports everything; name what is needed"
            else:
                for one in node.names:
                    reason = _path_reason(f"{node.module}.{one.name}")
                    if reason:
                        yield node, reason


def names(source: Source) -> Found:
    """Builtins of the list alone, and no import under another meaning."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Name):
            continue
        if not isinstance(node.ctx, ast.Load):
            if node.id in source.aliases:
                yield node, f"gives {node.id}, which was imported, another meaning"
        elif node.id in words.ONLY_CALLED and node.id not in source.bound and not _called(source, node):
            yield node, f"{node.id} is called where it stands, so that the gate can read what it reaches"
        elif node.id not in source.bound and node.id not in words.BUILTINS:
            yield (
                node,
                f"{node.id}: {words.REFUSED_BUILTINS.get(node.id, 'is neither defined here nor an allowed builtin')}",
            )


def _called(source: Source, node: ast.Name) -> bool:
    above = source.parents[node]
    return isinstance(above, ast.Call) and above.func is node


def modules_as_values(source: Source) -> Found:
    """A module is the beginning of a path and nothing else: under another name the gate would not know it."""
    for node in ast.walk(source.tree):
        whole = not isinstance(source.parents.get(node), ast.Attribute)
        if isinstance(node, ast.Name | ast.Attribute) and whole and isinstance(node.ctx, ast.Load):
            path = source.path(node)
            if path is not None and modules.is_module(path):
                yield node, f"{ast.unparse(node)} is a module; write out what is used of it where it is used"


def patterns(source: Source) -> Found:
    """No pattern that reads attributes: the gate does not follow it."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.MatchClass) and (node.kwd_attrs or node.patterns):
            yield node, f"case {ast.unparse(node)} reads attributes; read them by their names"


def constructions(source: Source) -> Found:
    """Modules are made in `__init__`, which is called for `super()` alone; methods are taken from their objects."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            above = isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "super"
            if node.attr == "__init__" and not (above and source.in_init(node)):
                yield node, "__init__ is called for super() alone"
            if isinstance(owner, ast.Name) and owner.id in words.BUILTINS - {"super"} - source.bound:
                yield node, f"{ast.unparse(node)}: a method is taken from its object, so that the gate knows which"
        elif isinstance(node, ast.Call) and source.module_class(node.func) and not source.in_constructor(node):
            yield (
                node,
                f"makes {ast.unparse(node.func)} outside __init__ of a module: its own __init__ may keep something",
            )


def attributes(source: Source) -> Found:
    """Paths of torch and triton of the lists alone; no private names, nothing that reaches past torch."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Attribute) or isinstance(source.parents.get(node), ast.Attribute):
            continue
        path = source.path(node)
        reason = _path_reason(path) if path is not None else None
        if reason:
            yield node, reason
        yield from _names_of(source, node)


def _names_of(source: Source, node: ast.AST) -> Found:
    while isinstance(node, ast.Attribute):
        reason = _attribute_reason(source, node.attr)
        if reason:
            yield node, reason
        node = node.value


def _attribute_reason(source: Source, name: str) -> str | None:
    if name in words.REFUSED_ATTRIBUTES:
        return f".{name}: {words.REFUSED_ATTRIBUTES[name]}"
    if name == "__init__":  # `constructions` has more to say
        return None
    if name in source.own_attributes and not name.startswith("__"):
        theirs = name.startswith("_") and modules.of_torch(name)
        return f".{name}: is torch's own; take another name" if theirs else None
    if name.startswith("__"):
        return f".{name}: reaches what lies below Python's surface"
    if name.startswith("_"):
        return f".{name}: is private to another class"
    if name.startswith(("register_forward", "register_full", "register_load", "register_state")) or name.endswith(
        "_hook"
    ):
        return f".{name}: hooks run where nobody looks"
    return None


def _path_reason(path: str) -> str | None:
    """Why a dotted path of an import is refused; `None` where it is not."""
    first, *rest = path.split(".")
    if path in words.ALLOWED_PATHS or path in words.MODULES or not rest:
        return None
    if first == "torch" and (reason := _torch_reason(path, rest)):
        return reason
    if foreign := modules.foreign_module(path):
        return f"{path}: leads to the module {foreign}, which no kernel needs"
    if first in words.NAMES_OF and rest[0] not in words.NAMES_OF[first]:
        return f"{path}: of {first} there are {', '.join(sorted(words.NAMES_OF[first]))} here"
    if first == "triton" and rest[0] not in words.TRITON_PATHS:
        reason = words.REFUSED_TRITON.get(rest[0], f"of triton there are {', '.join(words.TRITON_PATHS)} here")
        return f"{path}: {reason}"
    return None


def _torch_reason(path: str, rest: list[str]) -> str | None:
    name = rest[0]
    if name in words.REFUSED_TORCH:
        return f"{path}: {words.REFUSED_TORCH[name]}"
    if name not in words.TORCH_NAMES and not name.startswith("_") and not modules.computes(name):
        return f"{path}: is neither an operator of torch nor a dtype"
    if name == "cuda" and rest[1:]:
        return f"{path}: {words.REFUSED_CUDA}"
    if name.startswith("_"):
        return f"{path}: is private to torch"
    if name in ("nn",) and len(rest) > 2 and rest[1] not in words.NN_SPACES:
        return f"{path}: of torch.nn there are its classes, functional and init here"
    if name == "autograd" and rest[1:2] != ["Function"]:
        return f"{path}: gradients are not asked for"
    if len(rest) > 1 and name[:1].islower() and name not in words.TORCH_SPACES and _is_module(name):
        return f"{path}: torch.{name} is not among {', '.join(words.TORCH_SPACES)}"
    return None


def _is_module(name: str) -> bool:
    """Whether torch's name is a package: dtypes such as `torch.float32` also have attributes."""
    return not name.startswith(("float", "bfloat", "int", "uint", "bool", "half", "double", "long", "complex", "short"))


def calls(source: Source) -> Found:
    """`getattr` by literal names alone, no classes made by calls."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in ("getattr", "hasattr"):
            name = node.args[1] if len(node.args) > 1 else None
            if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
                yield node, f"{node.func.id} with a name that is computed: the gate cannot read it; write the attribute"
            elif reason := _attribute_reason(source, name.value) or _imported_reason(source, node, name.value):
                yield node, reason
        elif node.func.id == "type" and (len(node.args) != 1 or node.keywords):
            yield node, "makes a class by a call; write a class statement"


def _imported_reason(source: Source, node: ast.Call, name: str) -> str | None:
    path = source.path(node.args[0])
    return _path_reason(f"{path}.{name}") if path is not None else None


def definitions(source: Source) -> Found:
    """Known decorators and base classes; no methods that change how Python or torch treats an object."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                yield from _decorator(source, decorator)
        if isinstance(node, ast.ClassDef):
            yield from _class(source, node)


def _decorator(source: Source, node: ast.expr) -> Found:
    named = node.func if isinstance(node, ast.Call) else node
    path = source.path(named) or (named.id if isinstance(named, ast.Name) else "")
    if path not in words.DECORATORS:
        reason = words.REFUSED_TRITON.get(path.removeprefix("triton."), f"allowed are {', '.join(words.DECORATORS)}")
        yield node, f"the decorator {ast.unparse(named)}: {reason}"


def _class(source: Source, node: ast.ClassDef) -> Found:
    if node.keywords:
        yield node, "a metaclass or other keywords of a class"
    for base in node.bases:
        path = source.path(base)
        own = isinstance(base, ast.Name) and isinstance(source.top_level.get(base.id), ast.ClassDef)
        known = path is not None and (
            path.startswith("torch.nn.") or path in ("torch.autograd.Function", "typing.NamedTuple")
        )
        if not own and not known:
            yield node, f"the base class {ast.unparse(base)}; allowed are torch.nn's modules and classes of this file"
    for item in node.body:
        name = item.name if isinstance(item, ast.FunctionDef) else ""
        if name.startswith("__") and name not in ("__init__", "__post_init__"):
            yield item, f"defines {name}: changes how Python or torch treats the object"
        elif name in words.MODULE_MACHINERY or name.startswith(("_load", "_save")):
            yield item, f"defines {name}: the judge relies on torch's own"
