"""What a call is looked at for, and what the judge saw of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Observe:
    """What is looked at inside the child during a call."""

    operators: bool = False
    provenance: bool = False
    """Where memory comes from, and whether it changes while no operator and no kernel runs."""
    poison: bool = False
    guards: bool = False
    suppress_launches: bool = False
    """Kernels do not run."""
    disguise: bool = False
    """Whoever asks is told that tensors are on a GPU, and that nothing is interpreted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One call, as the judge saw it; `operators`, `launches`, `torn` and `unknown_memory` are what the child said."""

    outputs: list[Any]
    """Copies that the judge made; of another shape or dtype than expected: without content (device `meta`)."""
    structure: Any
    """Nested lists and dicts with `*` for each tensor; anything else is the name of a type."""
    elapsed_ns: int
    changed_inputs: tuple[str, ...]
    """Inputs and weights of the arena whose memory, bands included, is no longer as the judge wrote it."""
    aliases: tuple[str, ...]
    """What outputs share memory with: `inputs`, `weights`, `earlier outputs`."""
    changed_outputs: int | None
    """The call, counted from the build, whose outputs are no longer what they were; `None` if none."""
    operators: Mapping[str, int] = field(default_factory=dict)
    launches: Mapping[str, int] = field(default_factory=dict)
    torn: int = 0
    unknown_memory: Mapping[str, int] = field(default_factory=dict)
    """Kernels, operators or `the output` that were given memory which no operator that was seen had made."""
    kept: tuple[str, ...] = ()
    """What the module or its file holds and the call has changed."""


def counts(said: Any) -> dict[str, int]:
    """What a child said it counted, as far as it is a table of numbers."""
    if not isinstance(said, dict):
        return {}
    return {plain_text(name)[:200]: int(count) for name, count in said.items() if isinstance(count, int)}


def names(said: Any) -> tuple[str, ...]:
    """The names that a child listed, as far as it did."""
    return tuple(plain_text(one)[:200] for one in said) if isinstance(said, list) else ()


def plain_text(said: Any) -> str:
    """What a child said, as text that any file can hold."""
    return str(said).encode("utf-8", "replace").decode()


MOST_LEVELS = 64
"""So deep may lists and objects be nested that a child says; Python's own walks over them end at about a thousand."""


def too_deep(said: Any) -> bool:
    """Tell whether something is nested deeper than anything that the judge's own code in a child says."""
    level = [said]
    for _ in range(MOST_LEVELS):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
        if not level:
            return False
    return True
