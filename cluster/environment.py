"""The environment of a measurement: hardware, limits, versions and git state. It stands on every result.

What cannot be known is null. Variables of the process's environment are never copied, but for five of SLURM's, so
that no secret can be written here. torch is not imported; its version comes from the installed packages.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from joulegrid.cluster import node
from joulegrid.cluster.node import Cpu, Gpu, Limits
from joulegrid.version import __version__

_SLURM = ("SLURM_JOB_ID", "SLURM_NODELIST", "SLURM_PROCID", "SLURM_CLUSTER_NAME", "SLURM_JOB_PARTITION")
_GIT_TIMEOUT_S = 10


class Git(BaseModel):
    """The commit that a folder was at."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    commit: str | None
    """Full hash; null before the first commit."""
    branch: str | None
    """Null on a detached head."""
    dirty: bool
    """Whether tracked files differ from the commit; untracked ones do not count."""


class Environment(BaseModel):
    """Where and with what a task ran."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    hostname: str
    os: str | None
    kernel: str
    python: str
    joulegrid: str
    joulegrid_commit: str | None = None
    """Commit of Joulegrid's own checkout, `+` behind it with local changes; null for an installed wheel."""
    cpu: Cpu
    memory_bytes: int | None
    gpus: list[Gpu] = Field(default_factory=list)
    gpu_note: str | None = None
    """Why `gpus` is empty."""
    cuda_driver: str | None = None
    """The newest CUDA version that the driver supports."""
    cuda_runtime: str | None = None
    """Version of the CUDA runtime that is installed as a Python package."""
    packages: dict[str, str] = Field(default_factory=dict)
    """Installed distributions → version."""
    git: Git | None = None
    git_note: str | None = None
    """Why `git` is null, where a folder was asked about."""
    container: str | None = None
    """`docker`, `podman`, `kubernetes`, `apptainer` or `lxc`; null outside of a container or in an unknown one."""
    slurm: dict[str, str] | None = None
    ray: dict[str, str] | None = None
    limits: Limits | None = None
    clock_source: str | None = None


def capture(git_folder: Path | None = None, ray: dict[str, str] | None = None) -> Environment:
    """Describe this process's surroundings now.

    `git_folder` is the folder of the study, whose commit is recorded; `ray` is what the caller knows of Ray (node id,
    job id, version). GPUs and git are asked each time, because limits and commits change; the rest once a process.
    """
    graphics = node.gpus()
    git, git_note = read_git(git_folder) if git_folder is not None else (None, None)
    installed = packages()
    return Environment(
        hostname=socket.gethostname(),
        os=_os_name(),
        kernel=platform.release(),
        python=platform.python_version(),
        joulegrid=__version__,
        joulegrid_commit=_own_commit(),
        cpu=_cpu(),
        memory_bytes=node.memory_bytes(),
        gpus=graphics.gpus,
        gpu_note=graphics.note,
        cuda_driver=graphics.cuda_driver,
        cuda_runtime=_cuda_runtime(installed),
        packages=installed,
        git=git,
        git_note=git_note,
        container=_container(),
        slurm=_slurm(),
        ray=ray,
        limits=node.limits(),
        clock_source=node.clock_source(),
    )


@cache
def _own_commit() -> str | None:
    """Commit of the checkout that this file belongs to; a wheel inside somebody's repository has none."""
    here = Path(__file__).resolve()
    if not (here.parent.parent / "joulegrid" / "version.py").is_file():
        return None
    git, _ = read_git(here.parent)
    return f"{git.commit}{'+' if git.dirty else ''}" if git and git.commit else None


@cache
def packages() -> dict[str, str]:
    """Every installed distribution and its version; of two with one name, the one that Python would import."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # a half-removed distribution has none
            found.setdefault(name, distribution.version)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def read_git(folder: Path) -> tuple[Git | None, str | None]:
    """The commit, branch and cleanliness of a folder, or `None` and why. Never raises, never waits over 10 s."""
    command = ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    # Inside a git hook GIT_DIR points to another repository than the folder's.
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    surroundings |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(command, capture_output=True, env=surroundings, timeout=_GIT_TIMEOUT_S, check=False)
    except FileNotFoundError:
        return None, "git is not installed"
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"git did not answer: {type(error).__name__}"
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return None, lines[0][:300] if lines else f"git left with code {done.returncode}"
    return _parse_status(done.stdout.decode(errors="replace")), None


def _parse_status(text: str) -> Git:
    lines = text.splitlines()
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    commit, branch = heads.get("branch.oid"), heads.get("branch.head")
    return Git(
        commit=None if commit == "(initial)" else commit,
        branch=None if branch == "(detached)" else branch,
        dirty=any(not line.startswith("#") for line in lines),
    )


@cache
def _cpu() -> Cpu:
    return node.cpu()


@cache
def _os_name() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _cuda_runtime(installed: dict[str, str]) -> str | None:
    return next((installed[name] for name in sorted(installed) if name.startswith("nvidia-cuda-runtime")), None)


@cache
def _container() -> str | None:
    if any(name in os.environ for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")):
        return "apptainer"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    if Path("/run/.containerenv").exists():
        return "podman"
    if Path("/.dockerenv").exists():
        return "docker"
    groups = node.read_text(Path("/proc/self/cgroup")) or ""
    kinds = {"kubepods": "kubernetes", "docker": "docker", "libpod": "podman", "lxc": "lxc"}
    return next((kind for sign, kind in kinds.items() if sign in groups), None)


def _slurm() -> dict[str, str] | None:
    if "SLURM_JOB_ID" not in os.environ:
        return None
    return {name: os.environ[name] for name in _SLURM if name in os.environ}
