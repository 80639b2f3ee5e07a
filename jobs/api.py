"""The Python interface: `run_study`, `run_experiment`, `expand_grid`.

Each takes a path, a config object or keywords.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulegrid.actors.result import ExperimentResult
from joulegrid.cases.contract import ExperimentConfig
from joulegrid.errors import UsageError
from joulegrid.jobs.loop.continuing import Choice
from joulegrid.jobs.loop.driver import Options, check_plan, drive
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.planning import plan_of
from joulegrid.jobs.search.search import Searcher, SearcherSource
from joulegrid.jobs.study.load import load_study, make_study
from joulegrid.jobs.study.study import StudyConfig
from joulegrid.jobs.study.text import refuse_unwritable
from joulegrid.jobs.study_result import StudyResult

StudyLike = str | Path | StudyConfig | Mapping[str, Any]


def run_study(
    study: StudyLike | None = None,
    *,
    address: str | None = None,
    fresh: bool = False,
    searcher: Searcher | None = None,
    **fields: Any,
) -> StudyResult:
    """Run a study, or what is missing of its newest unfinished run, and return its result.

    Args:
        study: path of a YAML or Python file, a `StudyConfig`, a mapping, or nothing when `fields` say it all.
        address: Ray cluster to join; by default `RAY_ADDRESS`, else a session of its own.
        fresh: begin a new run even where an unfinished one could be continued.
        searcher: proposes the experiments, in the place of a sweep; it is asked and told while the study runs.
        fields: fields of the study, replacing those of `study` (`output="…"`, `sweep={…}`, `execution={…}`).

    Raises:
        UsageError: when the study is wrong. PreFlightError: when it cannot run here.
        StudyInterrupted: on Ctrl-C; what was finished is kept.

    A task that fails is no error: it is counted in `counts.failed` and told in `failures`.
    """
    config = as_study(study, fields)
    if searcher is not None:
        config = config.model_copy(update={"searcher": SearcherSource.of(searcher)})
    plan = plan_of(config)
    check_plan(plan)
    return drive(config, plan, Options(address=address, choice=Choice(fresh=fresh)))


def run_experiment(
    experiment: str | Path | ExperimentConfig | Mapping[str, Any] | None = None,
    *,
    output: str | None = None,
    address: str | None = None,
    **fields: Any,
) -> ExperimentResult:
    """Run one experiment once and return its result; `status` says whether it is `done` or `failed`.

    Args:
        experiment: path of a YAML file without a sweep, an `ExperimentConfig`, a mapping, or nothing.
        output: folder or `s3://…` for the run.
        address: Ray cluster to join, as in `run_study`.
        fields: fields of the experiment (`model="tiny-lm"`, `pytorch={"batch_size": 8}`).

    Raises:
        UsageError: when more than one experiment is described, or something in it is wrong.
    """
    if isinstance(experiment, ExperimentConfig):
        experiment = experiment.model_dump(mode="json")
    if output is not None:
        fields["output"] = output
    config = as_study(experiment, fields)
    plan = _grid(config)
    if len(plan) * config.execution.n_cycles != 1:
        raise UsageError(
            f"run_experiment: this describes {len(plan)} experiments in {config.execution.n_cycles} cycles; "
            "give exactly one, or use run_study"
        )
    result = drive(config, plan, Options(address=address, choice=Choice(fresh=True), report=False))
    return _only_result(result)


def expand_grid(study: StudyLike | None = None, **fields: Any) -> list[ExperimentConfig]:
    """Return the experiments of a study in the plan's order: refused and equivalent points are left out."""
    return [point.config for point in _grid(as_study(study, fields))]


def as_study(study: StudyLike | None, fields: Mapping[str, Any]) -> StudyConfig:
    """Turn whatever a caller gave into a `StudyConfig`; `UsageError` for a wrong one."""
    if isinstance(study, StudyConfig):
        if not fields:
            refuse_unwritable(study.model_dump())
            return study
        given = study.model_dump(mode="json", exclude_unset=True) | dict(fields)
        made = make_study(given, folder=study.folder)
        return made.model_copy(update={"searcher": study.searcher, "source_name": study.source_name})
    if isinstance(study, str | Path):
        return load_study(study, fields=fields)
    return make_study({**(study or {}), **fields})


def _grid(study: StudyConfig) -> Plan:
    if study.is_search:
        raise UsageError("a search has no list of experiments before it is run; use run_study")
    return Plan(study)


def _only_result(study: StudyResult) -> ExperimentResult:
    from joulegrid.cluster.storage import open_store
    from joulegrid.jobs.report.run_results import RunResults, read_json

    for result in study.iter_results():
        return result
    store = open_store(study.run)
    failed = list(RunResults(store).failed(read_json(store, "manifest.json").get("tasks") or []))
    if failed:
        return failed[0].result
    told = study.failures[0].message if study.failures else "it left no result"
    raise UsageError(f"run_experiment: the task could not be run: {told}")
