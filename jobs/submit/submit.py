"""The verb `submit`: one study, and one of two places that it can be sent to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from joulegrid.cluster.slurm import Allocation
from joulegrid.errors import UsageError
from joulegrid.jobs.commands import RunFlags, StudyFlags
from joulegrid.jobs.submit.batch_job import SlurmTarget, submit_to_slurm
from joulegrid.jobs.submit.ray_job import RayTarget, submit_to_ray
from joulegrid.jobs.submit.study_command import read_submission


@dataclass(frozen=True, slots=True)
class Targets:
    """What the command line says of both places; one of them is meant."""

    ray: RayTarget
    slurm: SlurmTarget
    by_slurm: bool


def submit_command(path: Path, study_flags: StudyFlags, run_flags: RunFlags, targets: Targets) -> int:
    """Submit a study where the command line says; return the exit code. `UsageError` where it names no place or two."""
    _refuse_mixture(targets)
    if targets.by_slurm and targets.slurm.only_print:
        run_flags = replace(run_flags, yes=True)  # nothing is started, so there is nothing to ask
    submission = read_submission(path, study_flags, run_flags)
    if targets.by_slurm:
        return submit_to_slurm(submission, targets.slurm)
    return submit_to_ray(submission, targets.ray)


def _refuse_mixture(targets: Targets) -> None:
    ray, slurm = targets.ray, targets.slurm
    if ray.address and targets.by_slurm:
        raise UsageError("give --address or --slurm, not both: a study is submitted to one place")
    if not ray.address and not targets.by_slurm:
        raise UsageError("say where: --address http://HEAD:8265 (a Ray cluster), or --slurm")
    if targets.by_slurm and (ray.follow or ray.working_dir or ray.variables):
        raise UsageError("--follow, --working-dir and --env belong to --address; a SLURM job's log is a file")
    of_slurm = slurm.allocation != Allocation() or slurm.setup or slurm.python or slurm.only_print
    if not targets.by_slurm and of_slurm:
        raise UsageError("--nodes, --time, --sbatch, --setup, --print and the like belong to --slurm")
