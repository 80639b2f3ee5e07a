"""The static gate: what a candidate's source may hold, by an allowlist over its syntax tree, with reasons.

It is a tripwire that spares an author a run and catches the plain cases; what it cannot see, the child's walls and the
judge's own checks have to hold. The rules lie in `gate/`: `reach`, `state`, `language`.
"""

from __future__ import annotations

from collections.abc import Callable

from joulegrid.kernels.judge.candidate import Candidate
from joulegrid.kernels.judge.gate import language, reach, state
from joulegrid.kernels.judge.gate.source import Found, Source, read_source
from joulegrid.kernels.judge.verdict import Refusal

RULES: tuple[Callable[[Source], Found], ...] = (
    reach.imports,
    reach.names,
    reach.modules_as_values,
    reach.patterns,
    reach.constructions,
    reach.attributes,
    reach.calls,
    reach.definitions,
    state.top_level,
    state.class_bodies,
    state.closures,
    state.iterators,
    state.random_numbers,
    state.mutable_constants,
    state.writes,
    state.sums_in_place,
    state.mutating_calls,
    state.changed_modules,
    state.writing_options,
    language.blocks,
    language.torch_functions,
    language.declarations,
)
_SHOWN = 160


def refusals(candidate: Candidate) -> list[Refusal]:
    """Return every place of a candidate's source that is refused, in the order of its lines."""
    if candidate.syntax_error is not None:
        return []
    source = read_source(candidate.source, candidate.language, candidate.passthrough)
    lines = candidate.source.splitlines()
    found = {(int(getattr(node, "lineno", 1)), reason) for rule in RULES for node, reason in rule(source)}
    return [
        Refusal(line=line, code=lines[line - 1].strip()[:_SHOWN] if line <= len(lines) else "", reason=reason)
        for line, reason in sorted(found)
    ]
