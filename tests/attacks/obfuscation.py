"""Rewrite a candidate so that it reads otherwise and does the same: what a cheat would do to get past a reader.

Kernels of Triton keep their bodies, since Triton compiles their source; parameters keep their
names, since callers use them.
"""

from __future__ import annotations

import ast
import builtins
import copy
import random
import textwrap
from collections.abc import Callable

KEPT = {"LANGUAGE", "OptimizedModel", "self", "cls", "annotations"}
Rewriting = Callable[[ast.Module, random.Random], ast.Module]


def obfuscated(source: str, seed: int, rewritings: dict[str, Rewriting] | None = None) -> str:
    """Return the source after a random choice of rewritings in random order; the same for the same seed."""
    chance = random.Random(seed)
    chosen = list((rewritings or ALL).values())
    chance.shuffle(chosen)
    tree = ast.parse(source)
    for rewriting in chosen[: chance.randint(2, len(chosen))]:
        tree = ast.fix_missing_locations(rewriting(tree, chance))
    return ast.unparse(tree) + "\n"


def rename(tree: ast.Module, chance: random.Random) -> ast.Module:
    """Give functions, classes, local names and imported modules meaningless names."""
    names = _own_names(tree)
    chance.shuffle(names)
    _Renamed({name: f"n{place}" for place, name in enumerate(names)}).visit(tree)
    return tree


def split_constants(tree: ast.Module, chance: random.Random) -> ast.Module:
    """Put strings and integers together from pieces."""
    _SplitConstants(chance).visit(tree)
    return tree


def reach_by_name(tree: ast.Module, chance: random.Random) -> ast.Module:
    """Take attributes by `getattr`, some of them through a name that holds the module."""
    _ReachByName(chance).visit(tree)
    return tree


def alias_modules(tree: ast.Module, chance: random.Random) -> ast.Module:
    """Give imported modules a second name and use that in functions."""
    modules = [name for name in ("torch", "os", "sys", "time", "gc") if _imports(tree, name)]
    if not modules:
        return tree
    picked = chance.choice(modules)
    last = max(place for place, node in enumerate(tree.body) if isinstance(node, ast.Import | ast.ImportFrom))
    second = f"second_{picked}"
    for node in tree.body[last + 1 :]:
        _Renamed({picked: second}).visit(node)
    tree.body.insert(last + 1, ast.parse(f"{second} = {picked}").body[0])
    return tree


def move_out(tree: ast.Module, chance: random.Random) -> ast.Module:
    """Move the bodies of `forward` into functions of the module."""
    for place, node in [(place, node) for place, node in enumerate(tree.body) if isinstance(node, ast.ClassDef)][::-1]:
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and method.name == "forward":
                name = f"part_{place}_{chance.randrange(1000)}"
                tree.body.insert(place, _moved(method, name))
    return tree


def dead_code(tree: ast.Module, chance: random.Random) -> ast.Module:
    """Add functions that nobody calls and branches that nobody takes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not _is_kernel(node) and chance.random() < 0.7:
            number = chance.randrange(10_000)
            node.body[_start(node.body) : 0] = ast.parse(f"if {number} < 0:\n    unused_{number} = {number} * 2").body
    number = chance.randrange(10_000)
    tree.body += ast.parse(f"def never_{number}(value):\n    return value * {number} + 1").body
    return tree


HARMLESS: dict[str, Rewriting] = {function.__name__: function for function in (rename, move_out, dead_code)}
"""What an honest author's formatter or taste might do, too."""
ALL: dict[str, Rewriting] = {
    **HARMLESS, **{function.__name__: function for function in (split_constants, reach_by_name, alias_modules)},
}  # fmt: skip


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if _is_kernel(node):  # its body stays: Triton reads it
            node.name = self.names.get(node.name, node.name)
            node.decorator_list = [self.visit(one) for one in node.decorator_list]
            return node
        node.name = self.names.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self.names.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> ast.AST:
        node.names = [self.names.get(name, name) for name in node.names]
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        node.names = [self.names.get(name, name) for name in node.names]
        return node


class _SplitConstants(ast.NodeTransformer):
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        value = node.value
        if isinstance(value, str) and len(value) > 3:
            cut = self.chance.randrange(1, len(value))
            return ast.BinOp(ast.Constant(value[:cut]), ast.Add(), ast.Constant(value[cut:]))
        if type(value) is int and value > 2:
            part = self.chance.randrange(1, value)
            return ast.BinOp(ast.Constant(part), ast.Add(), ast.Constant(value - part))
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)  # docstrings stay

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        declared = isinstance(node.targets[0], ast.Name) and node.targets[0].id == "LANGUAGE"
        return node if declared else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node if _is_kernel(node) else self.generic_visit(node)


class _ReachByName(ast.NodeTransformer):
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        private = node.attr.startswith("__") and not node.attr.endswith("__")
        if not isinstance(node.ctx, ast.Load) or private or self.chance.random() < 0.5:
            return node
        return ast.Call(ast.Name("getattr", ast.Load()), [node.value, ast.Constant(node.attr)], [])

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if _is_kernel(node):
            return node
        node.body = [self.visit(line) for line in node.body]  # decorators and annotations stay
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [self.visit(line) for line in node.body]
        return node


def _own_names(tree: ast.Module) -> list[str]:
    """Names that the file itself binds and that nobody outside uses: no parameters, methods or attributes."""
    bound: set[str] = set()
    fixed = set(KEPT) | set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            arguments = node.args
            named = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
            fixed |= {one.arg for one in named if one is not None}
        if isinstance(node, ast.FunctionDef) and _is_kernel(node):
            fixed |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
        if isinstance(node, ast.ClassDef):  # methods, fields and class variables
            fixed |= {line.name for line in node.body if isinstance(line, ast.FunctionDef)}
            fields = [line for line in node.body if isinstance(line, ast.Assign | ast.AnnAssign)]
            fixed |= {name.id for line in fields for name in ast.walk(line) if isinstance(name, ast.Name)}
        if isinstance(node, ast.Import | ast.ImportFrom):
            fixed |= {(one.asname or one.name).partition(".")[0] for one in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
    return sorted(bound - fixed)


def _is_kernel(node: ast.FunctionDef) -> bool:
    return any("jit" in ast.unparse(one) for one in node.decorator_list)


def _imports(tree: ast.Module, name: str) -> bool:
    lines = [line for line in tree.body if isinstance(line, ast.Import)]
    return any(one.name == name and one.asname is None for line in lines for one in line.names)


def _moved(method: ast.FunctionDef, name: str) -> ast.FunctionDef:
    """Return a function with the method's body; the method then calls it."""
    outside = copy.deepcopy(method)
    outside.name = name
    given = [one.arg for one in method.args.args] + [f"{one.arg}={one.arg}" for one in method.args.kwonlyargs]
    given += [f"*{method.args.vararg.arg}"] if method.args.vararg else []
    given += [f"**{method.args.kwarg.arg}"] if method.args.kwarg else []
    method.body = ast.parse(textwrap.dedent(f"return {name}({', '.join(given)})")).body
    return outside


def _start(body: list[ast.stmt]) -> int:
    """Where code may be put: behind a docstring and declarations of scope."""
    place = 0
    while place < len(body) and isinstance(body[place], ast.Expr | ast.Global | ast.Nonlocal):
        place += 1
    return place
