"""An archive's contents out of what the command line judged: one candidate, on one shape or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from joulegrid.cases.judging import compiled_facts, judged_point, point_files
from joulegrid.jobs.archive.shelf import Contents, PointFiles

if TYPE_CHECKING:
    from joulegrid.cases.judging import Judgement


def contents_of(judgements: Sequence[Judgement], label: str, environment: bytes) -> Contents:
    """Return what goes into the archive; compiled code's facts where Triton is installed."""
    first = judgements[0].subject
    return Contents(
        experiment=f"{first.problem.name}-{label}",
        case=first.problem.name,
        fingerprint=first.problem.fingerprint,
        case_files=first.case_files,
        candidate=first.candidate.path.name,
        candidate_source=first.candidate.source.encode(),
        language=first.candidate.language,
        environment=environment,
        points=tuple(PointFiles(judged_point(one), _files(one, label)) for one in judgements),
    )


def _files(judgement: Judgement, label: str) -> dict[str, bytes]:
    facts = compiled_facts(judgement.subject)
    return point_files(judgement, label) | ({"aot.json": facts} if facts is not None else {})
