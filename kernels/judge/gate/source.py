"""A candidate's source as the gate's rules look at it: tree, parents, meanings of names, kernels."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

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
    module_attributes: frozenset[str]
    """Those of them that modules are assigned to."""
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

    def in_init(self, node: ast.AST) -> bool:
        """Tell whether a node is code of some `__init__`."""
        return any(getattr(one, "name", "") in ("__init__", "__post_init__") for one in self.functions(node))

    def in_constructor(self, node: ast.AST) -> bool:
        """Tell whether a node is code of a module's `__init__`, which runs before anything is called."""
        owners = (self.parents[one] for one in self.functions(node) if getattr(one, "name", "") == "__init__")
        return any(isinstance(owner, ast.ClassDef) and self.is_module(owner) for owner in owners)

    def is_module(self, owner: ast.ClassDef, depth: int = 0) -> bool:
        """Tell whether a class of the file derives from one of torch's modules."""
        for base in owner.bases:
            own = self.top_level.get(base.id) if isinstance(base, ast.Name) else None
            if (self.path(base) or "").startswith("torch.nn."):
                return True
            if isinstance(own, ast.ClassDef) and depth < len(self.top_level) and self.is_module(own, depth + 1):
                return True
        return False

    def module_class(self, node: ast.AST) -> bool:
        """Tell whether a callee makes a module: a class of torch.nn, or one of the file that derives from it."""
        path, own = self.path(node) or "", self.top_level.get(node.id) if isinstance(node, ast.Name) else None
        of_torch = path.startswith("torch.nn.") and path.rpartition(".")[2][:1].isupper()
        return (of_torch and not path.endswith("Parameter")) or (isinstance(own, ast.ClassDef) and self.is_module(own))

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
    tree = _AttributesPlain().visit(_without_unused(ast.parse(text)))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    source = Source(
        tree, parents, _aliases(tree), frozenset(_bound(tree)), _top_level(tree), frozenset(_attributes(tree)),
        frozenset(), language, passthrough,
    )  # fmt: skip
    return replace(source, module_attributes=frozenset(_module_attributes(source)))


def _without_unused(tree: ast.Module) -> ast.Module:
    """Leave out blocks of the top level that nobody runs in a child: for type checkers, and of scripts."""
    aliases, bound = _aliases(tree), set(_bound(tree))

    def unused(node: ast.stmt) -> bool:
        match node:
            case ast.If(test=ast.Name(name), orelse=[]):
                return aliases.get(name) == "typing.TYPE_CHECKING" and name not in _stored(tree)
            case ast.If(test=ast.Compare(ast.Name("__name__"), [ast.Eq()], [ast.Constant("__main__")]), orelse=[]):
                return "__name__" not in bound
        return False

    tree.body = [node for node in tree.body if not unused(node)]
    return tree


def _stored(tree: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)}


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


def _module_attributes(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and source.module_class(node.value.func):
            yield from (target.attr for target in node.targets if isinstance(target, ast.Attribute))


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
