"""Injecting values into a Python file's globals: which names can be set, and the file's code with them set. Pure."""

from __future__ import annotations

import ast
import builtins
import difflib
import importlib.util
import symtable
from collections.abc import Iterable, Iterator
from types import CodeType

_DISCARDED = "_joulegrid_discarded"
_OWN_SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.AugAssign),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)
"""What is left as it is: scopes of their own, and `A += 1`."""


class Source:
    """A Python file's text as a tree. `SyntaxError` or `ValueError` where it is no Python."""

    def __init__(self, text: bytes, name: str) -> None:
        self.name = name
        self._text = text
        self.tree = ast.parse(text, filename=name)
        # symtable takes no bytes with a coding line.
        self._table = symtable.symtable(importlib.util.decode_source(text), name, "exec")

    def defines(self, function: str) -> bool:
        """Whether the file's top level defines a plain function of this name."""
        return any(isinstance(node, ast.FunctionDef) and node.name == function for node in self.tree.body)

    @property
    def functions(self) -> list[str]:
        """Names of the plain functions at the top level."""
        return [node.name for node in self.tree.body if isinstance(node, ast.FunctionDef)]

    def refusal(self, names: Iterable[str]) -> str | None:
        """Return why one of the names cannot be injected, with the nearest that can, or `None`."""
        fixed, known = set(_defined(self.tree.body)), set(_globals(self._table))
        usable = known - fixed
        for name in names:
            if name in fixed:
                return f"{name!r} is a function, a class or an import of {self.name}; only values can be injected"
            if name not in usable:
                near = difflib.get_close_matches(name, sorted(usable), n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(usable)) or 'none'}"
                return f"{self.name} has no global {name!r}; {hint}"
        return None

    def compiled(self, injected: Iterable[str], path: str) -> CodeType:
        """Compile the file so that its own top-level assignments no longer reach the injected names."""
        tree = ast.parse(self._text, filename=self.name)  # a tenth of what a copy of the tree costs
        _Injection(injected).generic_visit(tree)
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that the top level assigns, and names that are read as globals somewhere without being built in."""
    for symbol in table.get_symbols():
        at_top = table.get_type() == "module"
        name = symbol.get_name()
        if (at_top and symbol.is_assigned()) or (symbol.is_global() and not hasattr(builtins, name)):
            yield name
    for inner in table.get_children():
        yield from _globals(inner)


def _defined(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Names bound at the top level by def, class or import, also inside `if` and `try`."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        else:
            inner = (one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt | ast.ExceptHandler))
            for one in inner:
                yield from _defined(one.body if isinstance(one, ast.ExceptHandler) else [one])


class _Injection(ast.NodeTransformer):
    """Take the injected names out of what the top level assigns, so that what is computed from them sees the new value.

    `A = 1` is dropped with its right side; where a statement binds other names too (`A, B = 1, 2`, a loop), the
    injected one is bound under another name. `A += 1` stays: it computes from the injected value.
    """

    def __init__(self, injected: Iterable[str]) -> None:
        self._names = set(injected)

    def visit(self, node: ast.AST) -> ast.AST:
        """Return what stands in the place of a node."""
        if isinstance(node, _OWN_SCOPES):
            return node
        if isinstance(node, ast.Name) and self._is_injected(node) and isinstance(node.ctx, ast.Store):
            return ast.copy_location(ast.Name(_DISCARDED, ast.Store()), node)
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        if targets and all(self._is_injected(target) for target in targets):
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)

    def _is_injected(self, target: ast.expr) -> bool:
        return isinstance(target, ast.Name) and target.id in self._names
