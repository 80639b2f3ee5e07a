"""A Python generator as a searcher: it yields experiments, and may take what became of each as the value of `yield`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

from joulegrid.cases.contract import ExperimentConfig
from joulegrid.errors import UsageError
from joulegrid.jobs.plan.identity import canonical
from joulegrid.jobs.search.search import WAIT, Told, Wait, plain
from joulegrid.jsontypes import Json

_ENDLESS_CALLS = ("count", "cycle")


class GeneratorSearcher:
    """Ask a generator for its next experiment.

    A generator that uses the value of `yield` gets `Told` there and is advanced only when that is known, so one
    experiment runs at a time. When a run goes on, the generator is advanced over as many yields as were asked for, and
    each is compared with the log.

    Args:
        make: begins the generator; called once, when the first experiment is wanted.
        name: what messages call it, e.g. `study.py: config_gen`.
        deaf: whether the generator takes nothing back.
    """

    def __init__(self, make: Callable[[], Iterator[Any]], name: str, *, deaf: bool) -> None:
        self.deaf = deaf
        self._make = make
        self._name = name
        self._generator: Iterator[Any] | None = None
        self._n_yields = 0
        self._untold: int | None = None
        self._told: Told | None = None
        self._so_far: Told | None = None

    def ask(self) -> Mapping[str, Json] | Wait | None:
        """Return what the generator yields next; `WAIT` while it wants to be told first."""
        if not self.deaf and self._untold is not None:
            return WAIT
        values = self._next()
        if values is not None and not self.deaf:
            self._untold = self._n_yields - 1
        return values

    def tell(self, told: Told) -> None:
        """Keep what the generator is sent next; for an ask of an earlier start advance it and compare."""
        if told.number >= self._n_yields:
            self._follow(told)
        self._told, self._untold = (told, None) if told.status != "pending" else (None, told.number)
        self._so_far = told

    def _follow(self, told: Told) -> None:
        if self._told is None and self._so_far is not None:
            # It was told before it went on: of fewer cycles, or of a failure that is being tried again.
            self._told = replace(self._so_far, status="done" if self._so_far.cycles else "failed")
        values = self._next()
        if values is None or canonical(values) != canonical(dict(told.values)):
            raise UsageError(
                f"{self._name} yields {_shown(values)} as experiment {told.number}, but when the run began it was "
                f"{_shown(dict(told.values))}: a generator must yield the same again to be continued (random numbers "
                "want a fixed seed). Begin anew with --fresh"
            )
        self._untold = told.number

    def _next(self) -> dict[str, Json] | None:
        if self._generator is None:
            self._generator = self._make()
        try:
            if not self.deaf and self._told is not None and isinstance(self._generator, Generator):
                given, self._told = self._generator.send(self._told), None
            else:
                given = next(self._generator)
        except StopIteration:
            return None
        self._n_yields += 1
        return self._values(given)

    def _values(self, given: Any) -> dict[str, Json]:
        if isinstance(given, ExperimentConfig):
            given = given.model_dump(mode="json", exclude_unset=True)
        if not isinstance(given, Mapping):
            raise UsageError(
                f"{self._name} yielded {_shown(given)}; an experiment is a mapping of fields to values, or an "
                "ExperimentConfig"
            )
        return plain(given)


def listens(tree: ast.AST) -> bool:
    """Whether some generator of a file uses the value of a `yield`."""
    plain = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return any(isinstance(node, ast.Yield) and id(node) not in plain for node in ast.walk(tree))


def endless_line(function: ast.AST) -> int | None:
    """Return the line of a loop that visibly never ends, or `None` where that cannot be seen.

    Seen are `while True:` and `for … in count(…)` or `cycle(…)` without a way out: `break`, `return` or `raise`; and
    `yield from` such a call.
    """
    for node in ast.walk(function):
        if isinstance(node, ast.YieldFrom) and _is_endless(node.value):
            return node.lineno
        if isinstance(node, ast.While | ast.For) and _never_stops(node) and not _has_a_way_out(node):
            return node.lineno
    return None


def _never_stops(loop: ast.While | ast.For) -> bool:
    if isinstance(loop, ast.While):
        return isinstance(loop.test, ast.Constant) and bool(loop.test.value)
    return _is_endless(loop.iter)


def _is_endless(iterable: ast.expr) -> bool:
    called = iterable.func if isinstance(iterable, ast.Call) else None
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else None
    return name in _ENDLESS_CALLS


def _has_a_way_out(loop: ast.While | ast.For) -> bool:
    return any(isinstance(node, ast.Break | ast.Return | ast.Raise) for node in ast.walk(loop))


def _shown(value: Any) -> str:
    text = canonical(value) if isinstance(value, dict | list) else repr(value)
    return "nothing" if value is None else text if len(text) <= 200 else f"{text[:199]}…"
