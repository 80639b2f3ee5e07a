"""The environment of results in words: one line for a table's foot, pairs for a page's box. Reads no hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from joulegrid.jobs.report.quantity import counted

if TYPE_CHECKING:
    from joulegrid.actors.result import ExperimentResult, LaneRecord
    from joulegrid.cluster.environment import Environment
    from joulegrid.cluster.node import Gpu

_PACKAGES = ("torch", "transformers", "triton", "ray", "numpy")


def hardware_line(result: ExperimentResult) -> str:
    """Return device, driver, main versions and commit of a result on one line."""
    environment = result.environment
    device = _gpu_words(lane_gpus(environment, result.lane)) or _cpu_words(environment, result.lane)
    versions = [f"{name} {version}" for name, version in main_packages(environment).items() if name in ("torch", "ray")]
    own = environment.joulegrid_commit
    joulegrid = f"joulegrid {environment.joulegrid}{f' ({own[:9]}{own[40:]})' if own else ''}"
    return " · ".join([device, *versions, joulegrid, f"study {commit_words(environment)}"])


def environment_facts(result: ExperimentResult) -> list[tuple[str, str]]:
    """Return what a reader needs to judge or repeat a measurement, as pairs of a word and its value."""
    environment = result.environment
    cpu = environment.cpu
    facts = [
        ("Device of a task", _gpu_words(lane_gpus(environment, result.lane)) or _cpu_words(environment, result.lane)),
        ("Power limit", _limits(lane_gpus(environment, result.lane))),
        ("Processor", _joined([cpu.model, f"{cpu.logical_cores} logical cores" if cpu.logical_cores else None])),
        ("Frequency governor", cpu.governor or "unknown"),
        ("Virtual machine", {True: "yes", False: "no", None: "unknown"}[cpu.hypervisor]),
        ("Memory", gibibytes(environment.memory_bytes)),
        ("System", _joined([environment.os, f"kernel {environment.kernel}", environment.container])),
        ("CUDA", _joined([_of("driver up to", environment.cuda_driver), _of("runtime", environment.cuda_runtime)])),
        ("Python", environment.python),
        ("Packages", _joined([f"{name} {version}" for name, version in main_packages(environment).items()])),
        ("Joulegrid", _joined([environment.joulegrid, _of("commit", environment.joulegrid_commit)])),
        ("Study's commit", commit_words(environment, whole=True)),
        ("SLURM", _joined([f"{name}={value}" for name, value in (environment.slurm or {}).items()])),
        ("Isolation of tasks", result.lane.isolation),
    ]
    return [(word, value) for word, value in facts if value]


def lane_gpus(environment: Environment, lane: LaneRecord) -> list[Gpu]:
    """Return the GPUs that the lane owned; none on a CPU lane."""
    return [gpu for gpu in environment.gpus if gpu.uuid in lane.gpu_uuids]


def main_packages(environment: Environment) -> dict[str, str]:
    """Return the versions that decide most: torch, transformers, triton, ray, numpy."""
    return {name: environment.packages[name] for name in _PACKAGES if name in environment.packages}


def commit_words(environment: Environment, *, whole: bool = False) -> str:
    """Return the commit, and whether the files differed from it."""
    git = environment.git
    if git is None or git.commit is None:
        note = f" ({environment.git_note})" if environment.git_note else ""
        return f"unknown{note}" if whole else "in no git repository"
    commit = git.commit if whole else git.commit[:9]
    return f"{'' if whole else 'commit '}{commit}{' with local changes' if git.dirty else ''}"


def gibibytes(count: int | None) -> str:
    """Return bytes as GiB, nothing where unknown."""
    return f"{count / 2**30:.4g} GiB" if count is not None else ""


def _gpu_words(gpus: list[Gpu]) -> str:
    if not gpus:
        return ""
    first = gpus[0]
    inner = ", ".join(part for part in (gibibytes(first.memory_bytes), _of("driver", first.driver)) if part)
    return f"{len(gpus)} × {first.name or 'unknown GPU'}" + (f" ({inner})" if inner else "")


def _cpu_words(environment: Environment, lane: LaneRecord) -> str:
    if lane.device == "cuda":
        return f"{len(lane.gpu_uuids)} GPU(s), not described ({environment.gpu_note or 'no reason given'})"
    cores = len(lane.cpus) or environment.cpu.logical_cores
    return f"{environment.cpu.model or 'unknown CPU'}, {counted(cores, 'core') if cores else 'unknown number of cores'}"


def _limits(gpus: list[Gpu]) -> str:
    shown = dict.fromkeys(f"{gpu.power_limit_w:g} W" if gpu.power_limit_w is not None else "unknown" for gpu in gpus)
    return " / ".join(shown)


def _of(word: str, value: str | None) -> str | None:
    return f"{word} {value}" if value else None


def _joined(parts: list[str | None]) -> str:
    return ", ".join(part for part in parts if part)
