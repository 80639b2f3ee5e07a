"""`joulegrid submit STUDY --slurm`: write the batch file, fetch what nodes without network need, hand it to sbatch."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from joulegrid.cases.models import fetch_from_hub, hub_folder
from joulegrid.cluster.slurm import Allocation, BatchJob, batch_file
from joulegrid.errors import PreFlightError
from joulegrid.jobs.submit.study_command import Submission, checkout
from joulegrid.jobs.submit.upload import read_inputs

SBATCH_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class SlurmTarget:
    """What is asked of SLURM, and how the submission is to go."""

    allocation: Allocation = Allocation()
    setup: tuple[str, ...] = ()
    python: str | None = None
    """Interpreter on the nodes; `None` is this one's path."""
    only_print: bool = False
    as_json: bool = False


def submit_to_slurm(submission: Submission, target: SlurmTarget) -> int:
    """Submit a study to SLURM, or print the batch file alone; return the exit code of the command.

    Raises:
        UsageError: when an option cannot be one of sbatch.
        PreFlightError: when a model cannot be fetched, or sbatch is missing or refuses.
    """
    job = _batch_job(submission, target)
    text = batch_file(job)
    if target.only_print:
        print(text, end="")  # noqa: T201
        return 0
    for name in _hub_names(submission):
        sys.stderr.write(f"fetching {name} for nodes without network …\n")
        fetch_from_hub(name)
    file = _write(Path(job.folder), job.name, text)
    number = _sbatch(file)
    log = Path(job.folder) / f"{job.name}-{number}.log"
    if target.as_json:
        print(json.dumps({"job_id": number, "batch_file": str(file), "log": str(log)}, indent=2))  # noqa: T201
    else:
        print(f"submitted: {number}")  # noqa: T201
        sys.stderr.write(
            f"log:    {log}\nfile:   {file}\nstate:  squeue -j {number}\nstop:   scancel {number}\n"
            f"drain:  scancel --batch --signal=USR1 {number}   (ends what runs, then comes back)\n"
        )
    return 0


def _batch_job(submission: Submission, target: SlurmTarget) -> BatchJob:
    python = target.python or sys.executable
    output = submission.output
    if not output.startswith("s3://"):
        output = str(Path(output).expanduser().absolute())
    folder = Path("slurm").absolute() if output.startswith("s3://") else Path(output) / "slurm"
    return BatchJob(
        name=submission.study.study_name,
        command=(python, "-m", "joulegrid", *submission.arguments(str(submission.path), output)),
        folder=str(folder),
        python=python,
        allocation=target.allocation,
        setup=target.setup,
        environment=_environment(submission),
    )


def _environment(submission: Submission) -> dict[str, str]:
    """What the nodes need to find the same sources and the same models as this side."""
    variables = {"HF_HUB_OFFLINE": "1"}
    if _hub_names(submission):
        variables["HF_HUB_CACHE"] = str(hub_folder())
    if (ours := checkout()) is not None:
        given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        variables["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(ours), *given]))
    return variables


def _hub_names(submission: Submission) -> list[str]:
    """The hub names that the study uses, as it writes them: their revision is what a node looks up in the cache."""
    inputs = read_inputs(submission.plan)
    return sorted({read.name for read in inputs if read.name and read.found.location.startswith("hub:")})


def _write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}.sbatch"
    file.write_text(text, encoding="utf-8")
    return file


def _sbatch(file: Path) -> str:
    """Submit a batch file and return the job's number."""
    if shutil.which("sbatch") is None:
        raise PreFlightError(
            f"sbatch was not found; submit from a login node of the cluster. The batch file is written: {file}"
        )
    done = subprocess.run(
        ["sbatch", "--parsable", str(file)], capture_output=True, text=True, timeout=SBATCH_LIMIT_S, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise PreFlightError(f"sbatch refused {file}: {' '.join(said)}")
    return done.stdout.strip().partition(";")[0]
