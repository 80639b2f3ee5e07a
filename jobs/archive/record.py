"""What an archive is: one candidate for one case, all that was found out about it, and the hashes of every file.

::

    archive/{timestamp}-{experiment}-{speedup}/      `…-failed` where nothing passed, `…-untimed` without times
      archive.json                                   this record; written last: without it there is no archive
      case/manifest.yaml, model.py, …                the case as it was
      candidate.py                                   the very bytes that were judged
      environment.json                               hardware, driver, versions, commit
      points/{shape}-{dtype}/verification.json       verdict, evidence, seeds, isolation
                             timing.json             raw samples, baselines, A/A
                             metrics.json            latency, throughput, memory, correctness
                             energy.json, aot.json, profiler/…   where there are any
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from joulegrid.cases.judged import PASSED, JudgedPoint, mean_speedup
from joulegrid.kernels.scores import Judged

ROOT = "archive"
INDEX = "archive.json"
_SLUG = re.compile(r"[^A-Za-z0-9._-]+")
_SLUG_LENGTH = 80


class Part(BaseModel):
    """A frozen part of the record."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Archived(Part):
    """`archive.json`."""

    schema_version: Literal["1.0"] = "1.0"
    name: str
    """`{timestamp}-{experiment}-{speedup}`, the folder's name."""
    created_at: str
    """ISO 8601, UTC."""
    joulegrid: str
    """Version that wrote it."""
    experiment: str
    """Name of the experiment."""
    run: str | None = None
    """The run that it was made from; null for one of the command line."""
    case: str
    """Name of the case."""
    fingerprint: str
    """Hash of the case's manifest, module and weight provider."""
    candidate: str
    """The candidate's file name."""
    candidate_sha256: str
    """Hash of its bytes."""
    language: str
    """`torch` or `triton`."""
    points: list[JudgedPoint]
    """Every shape and dtype that was tried."""
    files: dict[str, str]
    """Path inside the archive → sha256 of the file."""

    @property
    def verdict(self) -> str:
        """`passed` where every point did, else the first other verdict."""
        return next((point.verdict for point in self.points if point.verdict != PASSED), PASSED)

    @property
    def speedup(self) -> float | None:
        """Weighted geometric mean of the points' claims; `None` where none was timed."""
        return mean_speedup(self.points)

    def judged(self) -> list[Judged]:
        """Return the points as the study's figures take them."""
        name = f"{self.candidate} {self.candidate_sha256[:8]}"
        return [
            Judged(self.case, name, point.weight, point.verdict == PASSED, point.speedup, point.roof_score)
            for point in self.points
        ]


def archive_name(now: datetime, experiment: str, points: Sequence[JudgedPoint]) -> str:
    """Return `{timestamp}-{experiment}-{speedup}`; `failed` in place of the last where nothing passed."""
    if not any(point.verdict == PASSED for point in points):
        ending = "failed"
    else:
        speedup = mean_speedup(points)
        ending = "untimed" if speedup is None else f"{speedup:.2f}x"
    return f"{now:%Y%m%dT%H%M%SZ}-{slug(experiment)}-{ending}"


def point_folder(point: JudgedPoint) -> str:
    """Return the folder of a point inside the archive; of later cycles and takes with their number."""
    cycle, take = f"-c{point.cycle}" if point.cycle else "", f"-t{point.take}" if point.take else ""
    return f"points/{slug(point.shape)}-{point.dtype}{cycle}{take}"


def slug(text: str) -> str:
    """Return a text as part of a path: letters, digits, `.`, `_` and `-`."""
    return _SLUG.sub("-", text).strip("-.")[:_SLUG_LENGTH] or "unnamed"


def judged_of(archives: Iterable[Archived]) -> list[Judged]:
    """Return the points of many archives; of several with the same bytes of candidate and case, those of the newest."""
    newest = {(one.case, one.fingerprint, one.candidate_sha256): one for one in sorted(archives, key=_age)}
    return [point for one in newest.values() for point in one.judged()]


def _age(one: Archived) -> str:
    return one.created_at
