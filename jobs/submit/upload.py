"""What of a study has to travel to a Ray cluster: which folder, which files of it, and whether they may."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from joulegrid.cases import contract
from joulegrid.cases.contract import Input
from joulegrid.errors import PreFlightError, UsageError
from joulegrid.jobs.plan.merge import leaves, overlap
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.report.quantity import counted
from joulegrid.jobs.search.asked import AskedPlan

LIMIT_BYTES = 500 * 2**20
"""Ray keeps a working folder in the memory of the head and takes 512 MiB at most, its frame included."""
WARN_BYTES = 50 * 2**20
LARGEST = 5
_MODEL_FILES = (".json", ".safetensors", ".model", ".txt", ".jinja")
_MARKS = (".rayignore", ".git", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Read:
    """Something that experiments of a plan read."""

    path: str
    """The dotted path of the field that names it."""
    name: str | None
    """As the study writes it; `None` for a default."""
    found: Input


@dataclass(frozen=True, slots=True)
class Upload:
    """The files that travel with a study, below its project folder."""

    folder: Path
    files: Mapping[Path, int]
    """Absolute path → bytes."""

    @property
    def size_bytes(self) -> int:
        """What is sent; Ray does not compress."""
        return sum(self.files.values())

    def largest(self) -> str:
        """Name the largest files, with their sizes."""
        by_size = sorted(self.files.items(), key=lambda one: one[1], reverse=True)[:LARGEST]
        return "\n".join(f"  {_mib(size):>12}  {path.relative_to(self.folder)}" for path, size in by_size)


def project_folder(study: Path) -> Path:
    """Return the nearest folder above a study that is a project's, else its own.

    A project has `.rayignore`, `.git` or `pyproject.toml`. The home folder and the root of the file
    system are nobody's project.
    """
    for folder in study.parents:
        if folder in (Path.home(), Path(folder.anchor)):
            break
        if any((folder / mark).exists() for mark in _MARKS):
            return folder
    return study.parent


def read_inputs(plan: Plan | AskedPlan) -> Iterator[Read]:
    """Yield what the points of a plan read, each once; of a search what its shared fields name."""
    if isinstance(plan, AskedPlan):
        yield from _shared_inputs(plan)
        return
    vary = any(overlap(one, field) for one in plan.varied for field in plan.workload.input_fields)
    seen = set()
    for index in range(len(plan)) if vary else range(1):
        point = plan[index]
        for path, found in point.inputs.items():
            name = point.values.get(path)
            if (path, name) not in seen:
                seen.add((path, name))
                yield Read(path, None if name is None else str(name), found)


def _shared_inputs(plan: AskedPlan) -> Iterator[Read]:
    """A search has no points yet; where its shared fields alone are no experiment, nothing can be known before."""
    shared = {"workload": plan.workload.name, **plan.study.experiment}
    try:
        config = plan.workload.Config.model_validate(shared)
    except ValidationError:
        return
    names = dict(leaves(plan.study.experiment))
    for path, found in plan.workload.inputs(config, plan.places).items():
        name = names.get(path)
        yield Read(path, None if name is None else str(name), found)


def check_upload(upload: Upload, study: Path, plan: Plan | AskedPlan) -> list[str]:
    """Return what a person should know before the upload; refuse one that cannot work.

    Raises:
        UsageError: when the study or something that it reads does not travel with it.
        PreFlightError: when it is too large.
    """
    told = []
    _refuse_absent(upload, study, "the study")
    for read in read_inputs(plan):
        location = Path(read.found.location)
        if not location.is_absolute() or location.is_relative_to(Path(contract.__file__).resolve().parent):
            continue  # on the hub, or part of Joulegrid
        if location.is_relative_to(upload.folder):
            _refuse_absent(upload, location, read.path)
        else:
            told.append(
                f"{read.path}: {location} lies outside of {upload.folder} and is not sent: every node must have it"
            )
    size, n_files = upload.size_bytes, counted(len(upload.files), "file")
    if size > LIMIT_BYTES:
        raise PreFlightError(
            f"the upload of {upload.folder} is {_mib(size)} in {n_files}; Ray takes {_mib(LIMIT_BYTES)}. The largest:\n"
            f"{upload.largest()}\nList what the study does not need in .rayignore, or name a smaller --working-dir"
        )
    if size > WARN_BYTES:
        told.append(
            f"uploading {_mib(size)} in {n_files}; .rayignore leaves files at home. The largest:\n{upload.largest()}"
        )
    return told


def _refuse_absent(upload: Upload, path: Path, what: str) -> None:
    inside = [path] if path.is_file() else [file for file in path.iterdir() if file.suffix in _MODEL_FILES]
    if not path.is_relative_to(upload.folder):
        raise UsageError(
            f"{what}: {path} lies outside of {upload.folder}, which is what is sent; name another --working-dir"
        )
    absent = sorted(file for file in inside if file not in upload.files)
    if absent:
        raise UsageError(
            f"{what}: {absent[0].relative_to(upload.folder)} would stay here: .gitignore, .rayignore or Ray's own list"
            f" ({upload.folder}) leaves it out; take it off the list (a line `!{absent[0].name}` does)"
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
