"""`joulegrid submit STUDY --address http://HEAD:8265`: check what can be checked here, then start a Ray job."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import joulegrid
from joulegrid.errors import PreFlightError, UsageError
from joulegrid.jobs.submit.study_command import Submission, checkout, refuse_relative
from joulegrid.jobs.submit.upload import Upload, check_upload, project_folder
from joulegrid.version import __version__

if TYPE_CHECKING:
    from joulegrid.cluster.ray_jobs import ClusterSoftware, JobEnd, JobSpec, RayJobs

STOP_WAIT_S = 30
"""Ray's own 3 s between SIGTERM and SIGKILL are too few to end tasks and to write the state on a slow store."""
OLDEST_PYTHON, OLDEST_RAY = (3, 11), (2, 50)


@dataclass(frozen=True, slots=True)
class RayTarget:
    """Which cluster, and how the submission is to go."""

    address: str
    working_dir: Path | None = None
    """`None` finds the study's project."""
    variables: tuple[str, ...] = ()
    """`NAME=VALUE` for the job's environment."""
    follow: bool = False
    as_json: bool = False


def submit_to_ray(submission: Submission, target: RayTarget) -> int:
    """Submit a study as a Ray job; return the exit code of the command.

    Raises:
        UsageError: when the output would vanish, or files that the study needs would stay here.
        PreFlightError: when the cluster does not answer, refuses the token, has other software, or the upload is too
            large. Nothing was submitted.
    """
    from joulegrid.cluster.ray_jobs import RayJobs, packed_files

    refuse_relative(submission.output)
    variables = _variables(target.variables)
    jobs = RayJobs(target.address)
    folder = (target.working_dir or project_folder(submission.path)).resolve()
    for line in check_upload(Upload(folder, packed_files(folder)), submission.path, submission.plan):
        _say(line)
    modules = _modules(folder)
    uploaded = bool(modules) or _holds_package(folder)
    for line in check_software(jobs.survey(), uploaded=uploaded):
        _say(line)
    job = jobs.submit(_spec(submission, folder, modules, variables))
    if target.follow:
        return _follow(jobs, job, target)
    _report(jobs, job, target, None)
    return 0


def check_software(there: ClusterSoftware, *, uploaded: bool) -> list[str]:
    """Return in what the cluster differs from here; `PreFlightError` where a study cannot run on it."""
    for name, found, oldest in (("Python", there.python, OLDEST_PYTHON), ("Ray", there.ray, OLDEST_RAY)):
        if _version(found) < oldest:
            least = ".".join(map(str, oldest))
            raise PreFlightError(f"the cluster has {name} {found}; Joulegrid needs {least} or later there")
    if not uploaded and there.joulegrid is None:
        raise PreFlightError(
            f"the cluster's Python has no Joulegrid: install joulegrid=={__version__} on its nodes, or submit from a"
            " checkout"
        )
    if there.missing:
        raise PreFlightError(
            f"the cluster's Python lacks {', '.join(there.missing)}, which Joulegrid needs; install them on its nodes"
        )
    pairs = [("Python", there.python, platform.python_version()), ("Ray", there.ray, version("ray"))]
    if not uploaded:
        pairs.append(("Joulegrid", str(there.joulegrid), __version__))
    return [f"the cluster has {name} {its}, this side {ours}" for name, its, ours in pairs if its != ours]


def _spec(submission: Submission, folder: Path, modules: tuple[Path, ...], variables: dict[str, str]) -> JobSpec:
    from joulegrid.cluster.ray_jobs import JobSpec

    study = submission.path.relative_to(folder)
    words = ["python", "-m", "joulegrid", *submission.arguments(str(study), submission.output)]
    return JobSpec(
        entrypoint=shlex.join(words),
        working_dir=folder,
        modules=modules,
        variables={"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S), **variables},
        metadata={"joulegrid_study": submission.study.study_name, "joulegrid_output": submission.output},
    )


def _modules(folder: Path) -> tuple[Path, ...]:
    """The package itself, where it is neither installed nor part of what is uploaded anyway."""
    ours = checkout()
    return () if ours is None or _holds_package(folder) else (ours / Path(joulegrid.__file__).parent.name,)


def _holds_package(folder: Path) -> bool:
    return (folder / "joulegrid" / "__init__.py").is_file()


def _variables(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for name, equals, _ in pairs:
        if not equals or not name.isidentifier():
            raise UsageError(f"--env {name!r}: give NAME=VALUE, e.g. --env AWS_REGION=eu-west-1")
    return {name: value for name, _, value in pairs}


def _follow(jobs: RayJobs, job: str, target: RayTarget) -> int:
    stream = sys.stderr if target.as_json else sys.stdout
    _say(f"following {job}; Ctrl-C stops following, the job goes on")

    def write(text: str) -> None:
        stream.write(text)
        stream.flush()

    try:
        end = jobs.follow(job, write)
    except KeyboardInterrupt:
        _say(f"no longer following; the job goes on\n{_advice(jobs, job)}")
        return 130
    if end.status != "SUCCEEDED":
        _say(f"{job}: {end.status.lower()}, exit code {end.exit_code}")
    _report(jobs, job, target, end)
    return end.exit_code


def _report(jobs: RayJobs, job: str, target: RayTarget, end: JobEnd | None) -> None:
    """Print the submission; after a job that was followed there is nothing to add for people."""
    if target.as_json:
        ended = {"status": end.status, "exit_code": end.exit_code} if end else {"status": None, "exit_code": None}
        print(json.dumps({"submission_id": job, "address": jobs.address, **ended}, indent=2))  # noqa: T201
    elif end is None:
        print(f"submitted: {job}")  # noqa: T201
        _say(_advice(jobs, job))


def _advice(jobs: RayJobs, job: str) -> str:
    return "\n".join(
        f"{what:<7} ray job {verb} --address {jobs.address} {job}"
        for what, verb in (("follow:", "logs --follow"), ("state:", "status"), ("stop:", "stop"))
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
