"""Whether an archive still holds: the archived candidate is judged again, against the archived case, by today's judge.

Twice: with the archived seeds, where the same verdict is due, and with fresh ones, which nobody could know then. Times
are not taken again: another machine, or another day of this one, has other times.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from joulegrid.cases.catalog import case_folders
from joulegrid.cases.judged import PASSED, JudgedPoint
from joulegrid.cases.judging import verified
from joulegrid.cases.manifest import read_problem
from joulegrid.errors import UsageError
from joulegrid.jobs.archive.record import Part

if TYPE_CHECKING:
    from joulegrid.jobs.archive.shelf import Opened
    from joulegrid.kernels.judge.candidate import Candidate
    from joulegrid.kernels.judge.verdict import Evidence
    from joulegrid.kernels.judge.zygote import Zygote
    from joulegrid.kernels.problem import Problem


class Replayed(Part):
    """One verification of a replay."""

    dtype: str
    """The dtype."""
    seeds: list[int]
    """Of the draws."""
    fresh: bool
    """Whether the seeds were drawn now; else they are the archive's."""
    archived: str
    """The verdict that is archived."""
    found: str
    """The verdict now."""
    why: str = ""
    """The first evidence, where it did not pass."""

    @property
    def holds(self) -> bool:
        """The same verdict; of one that failed, that it fails again, for whatever reason."""
        return (self.found == PASSED) == (self.archived == PASSED)


class Replay(Part):
    """The outcome of `joulegrid archive replay`."""

    name: str
    """The archive."""
    holds: bool
    """No file is damaged, and every verdict is what it was."""
    damaged: list[str]
    """Files that are missing or changed; then nothing was run."""
    case_now: str
    """`same`, `changed` or `gone`: the case of this name that is installed here. The archived one is what counts."""
    judged: list[Replayed]
    """Every verification."""


@dataclass(frozen=True, slots=True)
class _Point:
    dtype: str
    seeds: tuple[int, ...]
    verdict: str


def replay(opened: Opened, zygote: Zygote, *, fresh: bool = True) -> Replay:
    """Verify an archive again and say whether it still holds; damaged files are never run."""
    record = opened.record
    judged: list[Replayed] = []
    if not opened.damaged:
        with tempfile.TemporaryDirectory(prefix="joulegrid-replay-") as folder:
            problem, candidate = _unpacked(opened, Path(folder))
            for point in _distinct(record.points):
                judged.append(_judged((problem, candidate), point, point.seeds, zygote))
                if fresh:
                    judged.append(_judged((problem, candidate), point, None, zygote))
    return Replay(
        name=record.name,
        holds=not opened.damaged and all(one.holds for one in judged),
        damaged=opened.damaged,
        case_now=_case_now(record.case, record.fingerprint),
        judged=judged,
    )


def _unpacked(opened: Opened, folder: Path) -> tuple[Problem, Candidate]:
    """Write case and candidate below a folder and read them as ever."""
    from joulegrid.kernels.judge.candidate import read_candidate

    record = opened.record
    case, source = folder / record.case, folder / "candidate" / PurePosixPath(record.candidate).name
    for path in record.files:
        if path.startswith("case/"):
            target = case / path.removeprefix("case/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(opened.read(path))
    source.parent.mkdir()
    source.write_bytes(opened.read("candidate.py"))
    problem = read_problem(case)
    if problem.fingerprint != record.fingerprint:
        raise UsageError(f"archive: {record.name}: its case is not the one whose fingerprint it names")
    return problem, read_candidate(source)


def _distinct(points: Sequence[JudgedPoint]) -> list[_Point]:
    """What differs in dtype or seeds; shapes that were only timed share one verification."""
    return list(dict.fromkeys(_Point(point.dtype, tuple(point.seeds), point.verdict) for point in points))


def _judged(what: tuple[Problem, Candidate], point: _Point, seeds: Sequence[int] | None, zygote: Zygote) -> Replayed:
    found = verified(*what, point.dtype, seeds or None, zygote=zygote)
    return Replayed(
        dtype=point.dtype,
        seeds=list(found.seeds),
        fresh=not seeds,
        archived=point.verdict,
        found=str(found.verdict),
        why=_why(found.evidence),
    )


def _why(evidence: Sequence[Evidence]) -> str:
    return "" if not evidence else f"{evidence[0].check} at {evidence[0].where}: {evidence[0].found}"


def _case_now(name: str, fingerprint: str) -> str:
    folder = case_folders().get(name)
    if folder is None:
        return "gone"
    try:
        return "same" if read_problem(folder).fingerprint == fingerprint else "changed"
    except UsageError:
        return "changed"
