"""An archive's contents out of what the command line judged: one candidate, on one shape or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from joulegrid.cases.judging import compiled_facts, judged_point, point_files
from joulegrid.jobs.archive.shelf import Contents, PointFiles

if TYPE_CHECKING:
    from joulegrid.cases.judged import CallEnergy
    from joulegrid.cases.judging import Judgement


def contents_of(
    judgements: Sequence[Judgement], label: str, environment: bytes, spent: CallEnergy | None = None
) -> Contents:
    """Return what goes into the archive; compiled code's facts where Triton is installed.

    `spent` are the joules of a call, where there is one judgement and it was metered.
    """
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
        points=tuple(_point(one, label, spent) for one in judgements),
    )


def _point(judgement: Judgement, label: str, spent: CallEnergy | None) -> PointFiles:
    facts, files = compiled_facts(judgement.subject), point_files(judgement, label)
    files |= {"aot.json": facts} if facts is not None else {}
    files |= {"energy.json": spent.model_dump_json(indent=2).encode()} if spent is not None else {}
    return PointFiles(judged_point(judgement).model_copy(update={"energy": spent}), files)
