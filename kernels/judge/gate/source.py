"""A candidate's source as the gate's rules look at it: tree, parents, meanings of names, kernels."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

Found = Iterator[tuple[ast.AST, str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed file, with what the rules ask again and again."""

    tree: ast.Module
    parents: dict[ast.AST, ast.AST]
    aliases: dict[str, str]
    """Name → dotted path of what was imported under it."""
    bound: frozenset[str]
    """Every name that the file itself gives a meaning to."""
    top_level: dict[str, ast.AST]
    """Name → what is assigned to it at the top level."""
    own_attributes: frozenset[str]
    """Attributes that the file's classes define."""
    language: str
    passthrough: tuple[str, ...]

    def path(self, node: ast.AST) -> str | None:
        """Return the dotted path of a chain of attributes that begins with an import; `None` for anything else."""
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.aliases:
            return None
        return ".".join([self.aliases[node.id], *reversed(names)])

    def name_of(self, node: ast.AST) -> str:
        """Return a bare name, by what was imported under it where that is so; empty for anything else."""
        name = node.id if isinstance(node, ast.Name) else ""
        return self.aliases.get(name, name).rpartition(".")[2]

    def function(self, node: ast.AST) -> Function | None:
        """Return the innermost function around a node, the node itself apart."""
        above = self.parents.get(node)
        while above is not None and not isinstance(above, _SCOPES):
            above = self.parents.get(above)
        return above

    def functions(self, node: ast.AST) -> Iterator[Function]:
        """Yield all functions around a node, the innermost first."""
        inner = self.function(node)
        while inner is not None:
            yield inner
            inner = self.function(inner)

    def is_kernel(self, function: ast.AST) -> bool:
        """Tell whether Triton compiles this function."""
        decorators = getattr(function, "decorator_list", [])
        paths = (self.path(one.func if isinstance(one, ast.Call) else one) for one in decorators)
        return any(path in ("triton.jit", "triton.constexpr_function") for path in paths)

    def in_kernel(self, node: ast.AST) -> bool:
        """Tell whether a node is code of a kernel."""
        return any(self.is_kernel(function) for function in self.functions(node))

    def in_constructor(self, node: ast.AST) -> bool:
        """Tell whether a node is code of some `__init__`."""
        return any(getattr(one, "name", "") in ("__init__", "__post_init__") for one in self.functions(node))

    def at_top_level(self, node: ast.AST) -> bool:
        """Tell whether a node is run when the file is run: outside of functions."""
        return self.function(node) is None

    def root(self, node: ast.AST) -> str | None:
        """Return the name that a chain of attributes, items and method calls begins with."""
        while True:
            if isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
                node = node.value
            elif isinstance(node, ast.Call):
                node = node.func
            else:
                return node.id if isinstance(node, ast.Name) else None


def read_source(text: str, language: str, passthrough: tuple[str, ...]) -> Source:
    """Parse a file whose syntax is known to be right."""
    tree = _AttributesPlain().visit(ast.parse(text))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    return Source(
        tree, parents, _aliases(tree), frozenset(_bound(tree)), _top_level(tree), frozenset(_attributes(tree)),
        language, passthrough,
    )  # fmt: skip


class _AttributesPlain(ast.NodeTransformer):
    """Writes `getattr(x, "name")` as `x.name`, so that each rule sees one where there is the other."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name("getattr"), args=[owner, ast.Constant(str(name))], keywords=[]):
                return ast.copy_location(ast.Attribute(owner, name, ast.Load()), node)
        return node


def _aliases(tree: ast.AST) -> dict[str, str]:
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                found[one.asname or one.name.split(".")[0]] = one.name if one.asname else one.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                found[one.asname or one.name] = f"{node.module}.{one.name}"
    return found


def _bound(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            yield node.name or ""
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.split(".")[0]


def _top_level(tree: ast.Module) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            found |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found[node.target.id] = node.value
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
    return found


def _attributes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    yield item.name
                elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    yield item.target.id
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("register_buffer", "register_parameter"):
            yield from (
                one.value for one in node.args[:1] if isinstance(one, ast.Constant) and isinstance(one.value, str)
            )
