"""Archives out of a run of the workload `kernel`: one for each candidate and case, with all its shapes and dtypes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pydantic import ValidationError

from joulegrid.cases.judged import PASSED, CallEnergy, JudgedPoint
from joulegrid.cases.workloads.kernel import CALL, CANDIDATE, FILLED_CALL
from joulegrid.errors import UsageError
from joulegrid.jobs.archive.shelf import Contents, PointFiles
from joulegrid.jobs.report.run_results import RunResults

if TYPE_CHECKING:
    from joulegrid.actors.result import ExperimentResult
    from joulegrid.cluster.storage import Store
    from joulegrid.jobs.report.run_results import Located

ARTIFACTS = "artifacts/kernel/"
"""Where the workload leaves its files, beside the result."""
_DISAGREES = "a call took another time in its window than when it was timed"
_NO_WINDOW = "no window measured the filling in of inputs alone"


@dataclass(frozen=True, slots=True)
class _Found:
    result: ExperimentResult
    files: dict[str, bytes]
    point: JudgedPoint

    @property
    def subject(self) -> tuple[str, str]:
        """What belongs into one archive: the same case and the same candidate."""
        effective = self.result.effective
        return str(effective["fingerprint"]), str(effective["candidate_sha256"])


def contents_of(store: Store) -> Iterator[Contents]:
    """Yield what the archives of a run are made of; `UsageError` where it has no judged kernel."""
    groups: dict[tuple[str, str], list[_Found]] = {}
    for located in RunResults(store).done():
        found = _read(store, located)
        if found is not None:
            groups.setdefault(found.subject, []).append(found)
    if not groups:
        told = f"{store.url} has no done task of the workload `kernel` that judged a candidate"
        raise UsageError(f"archive keep: {told}; give the folder of a run that has, as `joulegrid status` names it")
    for group in groups.values():
        yield _contents(store, group)


def _read(store: Store, located: Located) -> _Found | None:
    """A result of ours with its files; `None` for a result of something else."""
    names = [name for name in located.result.artifacts if name.startswith(ARTIFACTS)]
    if f"{ARTIFACTS}point.json" not in names:
        return None
    files = {name.removeprefix(ARTIFACTS): store.get(f"{located.path}/{name}") for name in names}
    try:
        point = JudgedPoint.model_validate_json(files.pop("point.json"))
    except ValidationError as error:
        raise UsageError(f"archive: {located.path}/{ARTIFACTS}point.json is not of this version's form") from error
    update = {"cycle": located.result.cycle, "energy": _energy(located.result) if point.verdict == PASSED else None}
    return _Found(located.result, files, point.model_copy(update=update))


def _contents(store: Store, group: list[_Found]) -> Contents:
    first = group[0]
    effective = first.result.effective
    candidate = PurePosixPath(str(effective["candidate"])).name
    case_files = {path.removeprefix("case/"): data for path, data in first.files.items() if path.startswith("case/")}
    return Contents(
        experiment=f"{effective['case']}-{PurePosixPath(candidate).stem}",
        case=str(effective["case"]),
        fingerprint=str(effective["fingerprint"]),
        case_files=case_files,
        candidate=candidate,
        candidate_source=first.files["candidate.py"],
        language=str(effective["language"]),
        environment=first.result.environment.model_dump_json(indent=2).encode(),
        points=tuple(PointFiles(one.point, _own_files(one)) for one in group),
        run=store.url,
    )


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
    reason = (per.reason if per else _NO_WINDOW) or energy.reason
    if disagrees:
        per, reason = None, _DISAGREES
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
