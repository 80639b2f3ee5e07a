"""Archives out of a run of the workload `kernel`: one for each candidate and case, with all its shapes and dtypes.

Of the same results always the same archive is made, under the same name: what was kept before is not kept twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pydantic import ValidationError

from joulegrid.cases.judged import DISAGREES, NO_WINDOW, PASSED, CallEnergy, JudgedPoint
from joulegrid.cases.workloads.kernel import CALL, CANDIDATE, FILLED_CALL
from joulegrid.errors import UsageError
from joulegrid.jobs.archive.shelf import Contents, Origin, PointFiles
from joulegrid.jobs.plan.identity import canonical
from joulegrid.jobs.report.run_results import RunResults
from joulegrid.jobs.report.strata import stratum_of

if TYPE_CHECKING:
    from joulegrid.actors.result import ExperimentResult
    from joulegrid.cluster.storage import Store
    from joulegrid.jobs.report.run_results import Located

ARTIFACTS = "artifacts/kernel/"
"""Where the workload leaves its files, beside the result."""


@dataclass(frozen=True, slots=True)
class _Found:
    result: ExperimentResult
    files: dict[str, bytes]
    point: JudgedPoint


def contents_of(store: Store) -> Iterator[Contents]:
    """Yield what the archives of a run are made of: one for each candidate, case and environment."""
    groups: dict[tuple[str, ...], list[Located]] = {}
    for located in RunResults(store).done():
        if f"{ARTIFACTS}point.json" in located.result.artifacts:
            groups.setdefault(_subject(located.result), []).append(located)
    for group in groups.values():
        yield _contents(store, group)


def _subject(result: ExperimentResult) -> tuple[str, ...]:
    """What belongs into one archive: the same case, candidate and environment."""
    effective = result.effective
    return str(effective["fingerprint"]), str(effective["candidate_sha256"]), canonical(stratum_of(result))


def _read(store: Store, located: Located) -> _Found:
    """A result of ours with its files."""
    names = [name for name in located.result.artifacts if name.startswith(ARTIFACTS)]
    files = {name.removeprefix(ARTIFACTS): store.get(f"{located.path}/{name}") for name in names}
    try:
        point = JudgedPoint.model_validate_json(files.pop("point.json"))
    except ValidationError as error:
        raise UsageError(f"archive: {located.path}/{ARTIFACTS}point.json is not of this version's form") from error
    update = {"cycle": located.result.cycle, "energy": _energy(located.result) if point.verdict == PASSED else None}
    return _Found(located.result, files, point.model_copy(update=update))


def _contents(store: Store, located: Sequence[Located]) -> Contents:
    group = [_read(store, one) for one in located]
    first = group[0]
    effective = first.result.effective
    given = PurePosixPath(str(effective["candidate"]))
    case_files = {path.removeprefix("case/"): data for path, data in first.files.items() if path.startswith("case/")}
    return Contents(
        experiment=f"{effective['case']}-{given.stem}",
        case=str(effective["case"]),
        fingerprint=str(effective["fingerprint"]),
        case_files=case_files,
        candidate=str(effective.get("candidate_file", given.name)),
        candidate_source=first.files["candidate.py"],
        language=str(effective["language"]),
        environment=first.result.environment.model_dump_json(indent=2).encode(),
        points=tuple(PointFiles(point, _own_files(one)) for one, point in zip(group, _told_apart(group), strict=True)),
        origin=Origin(store.url, max(map(_ended, group)), tuple(one.path for one in located)),
    )


def _told_apart(group: Sequence[_Found]) -> Iterator[JudgedPoint]:
    """Number the points that would lie in one folder."""
    seen: Counter[tuple[str, str, int]] = Counter()
    for one in group:
        place = (one.point.shape, one.point.dtype, one.point.cycle)
        yield one.point.model_copy(update={"take": seen[place]})
        seen[place] += 1


def _ended(found: _Found) -> datetime:
    timing = found.result.timing
    return datetime.fromisoformat(timing.started_at).astimezone(UTC) + timedelta(seconds=timing.duration_s)


def _own_files(found: _Found) -> dict[str, bytes]:
    own = {path: data for path, data in found.files.items() if path != "candidate.py" and not path.startswith("case/")}
    if found.point.energy is not None:
        own["energy.json"] = found.point.energy.model_dump_json(indent=2).encode()
    return own


def _energy(result: ExperimentResult) -> CallEnergy | None:
    """Joules of a call, by difference of the candidate's two windows; `None` where no energy was asked for."""
    calls, energy = int((result.work or {}).get(FILLED_CALL, 0)), result.energy
    if not calls or energy is None:
        return None
    per = next((one for one in result.differences if one.name == f"{CANDIDATE} {CALL}"), None)
    disagrees = CANDIDATE in str((result.metrics or {}).get("energy_disagrees", ""))
    reason = (per.reason if per else NO_WINDOW) or energy.reason
    if disagrees:
        per, reason = None, DISAGREES
    return CallEnergy(
        energy_j=per.energy_j if per else None,
        low_j=per.low_j if per else None,
        high_j=per.high_j if per else None,
        calls=calls,
        provenance=energy.provenance,
        source=energy.source,
        scope=energy.scope,
        reason=reason,
    )
