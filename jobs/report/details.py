"""What a page tells beyond the summary: environments, configurations and whole failures, of a bounded sample.

A page of a run with 10⁵ experiments must not read 10⁵ files, so at most fifty results and twenty failures are read.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from joulegrid.jobs.report.columns import experiment_name
from joulegrid.jobs.report.hardware import environment_facts
from joulegrid.jobs.report.run_results import RunResults

if TYPE_CHECKING:
    from joulegrid.actors.result import ExperimentResult, Failure
    from joulegrid.jobs.report.run_report import RunReport
    from joulegrid.jobs.study_result import TaskFailure
    from joulegrid.jsontypes import Json

_RESULTS_READ = 50
_FAILURES_READ = 20


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One environment and the experiments that were seen in it."""

    facts: list[tuple[str, str]]
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WholeFailure:
    """A failed task, with its whole record where it left one."""

    task: TaskFailure
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Configuration:
    """What one experiment was, every default applied."""

    name: str
    effective_config: dict[str, Json]
    effective: dict[str, Json]
    inputs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Details:
    """What was read for a page."""

    environments: list[Surroundings]
    configurations: list[Configuration]
    failures: list[WholeFailure]
    study_yaml: str | None
    """The study as it was given, secrets masked."""
    commands: list[str]
    """What reproduces the run, line by line."""


def gather(run: RunReport) -> Details:
    """Read one done result of each of the first fifty experiments, and the first twenty failures."""
    results = _one_each(run)
    failures, failed_results = _failures(run)
    first = next(iter([*results.values(), *failed_results]), None)
    return Details(
        environments=_environments(results or {one.label: one for one in failed_results}),
        configurations=[
            Configuration(name, one.effective_config, one.effective, one.inputs) for name, one in results.items()
        ],
        failures=failures,
        study_yaml=first.study_yaml if first else None,
        commands=_commands(run, first),
    )


def _one_each(run: RunReport) -> dict[str, ExperimentResult]:
    found = RunResults(run.store)
    names = {row.key: experiment_name(row) for row in run.study.summary if row.n_done}
    located = {name: found.first_done(key) for key, name in list(names.items())[:_RESULTS_READ]}
    return {name: one.result for name, one in located.items() if one is not None}


def _failures(run: RunReport) -> tuple[list[WholeFailure], list[ExperimentResult]]:
    tasks = run.study.failures[:_FAILURES_READ]
    found = RunResults(run.store).failed([{"status": "failed", "path": task.path} for task in tasks])
    by_path = {located.path: located.result for located in found}
    whole = [WholeFailure(task, by_path[task.path].failure if task.path in by_path else None) for task in tasks]
    return whole, list(by_path.values())


def _environments(results: dict[str, ExperimentResult]) -> list[Surroundings]:
    seen: dict[str, Surroundings] = {}
    for name, result in results.items():
        facts = environment_facts(result)
        seen.setdefault(repr(facts), Surroundings(facts)).names.append(name)
    return list(seen.values())


def _commands(run: RunReport, result: ExperimentResult | None) -> list[str]:
    url = run.study.run.rstrip("/")
    commands = []
    environment = result.environment if result is not None else None
    if environment is not None and environment.git is not None and environment.git.commit is not None:
        dirty = "; it had local changes, which this does not bring back" if environment.git.dirty else ""
        commands.append(f"git checkout {environment.git.commit}   # in the study's repository{dirty}")
    if environment is not None:
        commit = f", commit {environment.joulegrid_commit}" if environment.joulegrid_commit else ""
        commands.append(f"# Joulegrid {environment.joulegrid}{commit}; torch and others as listed in each result.json")
    study = f"joulegrid run --fresh {shlex.quote(f'{url}/resolved.yaml')}"
    return [*commands, study, f"joulegrid report {shlex.quote(url)}"]
