"""Joulegrid: grids of LLM-efficiency experiments on a Ray cluster, with what each one cost.

The public names are imported on first use, so that `import joulegrid` costs next to nothing and
`joulegrid plan` never loads Ray, torch, transformers or pyarrow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from joulegrid.version import __version__

if TYPE_CHECKING:
    from joulegrid.actors.result import ExperimentResult as ExperimentResult
    from joulegrid.cases.contract import ExperimentConfig as ExperimentConfig
    from joulegrid.jobs.api import expand_grid as expand_grid
    from joulegrid.jobs.api import run_experiment as run_experiment
    from joulegrid.jobs.api import run_study as run_study
    from joulegrid.jobs.meter.block import meter as meter
    from joulegrid.jobs.search.search import WAIT as WAIT
    from joulegrid.jobs.search.search import Searcher as Searcher
    from joulegrid.jobs.search.search import Told as Told
    from joulegrid.jobs.study.study import ExecutionConfig as ExecutionConfig
    from joulegrid.jobs.study.study import StudyConfig as StudyConfig
    from joulegrid.jobs.study_result import StudyResult as StudyResult


_HOMES = {
    "ExecutionConfig": "joulegrid.jobs.study.study",
    "ExperimentConfig": "joulegrid.cases.contract",
    "ExperimentResult": "joulegrid.actors.result",
    "Searcher": "joulegrid.jobs.search.search",
    "StudyConfig": "joulegrid.jobs.study.study",
    "StudyResult": "joulegrid.jobs.study_result",
    "Told": "joulegrid.jobs.search.search",
    "WAIT": "joulegrid.jobs.search.search",
    "expand_grid": "joulegrid.jobs.api",
    "run_experiment": "joulegrid.jobs.api",
    "run_study": "joulegrid.jobs.api",
    "meter": "joulegrid.jobs.meter.block",
}

__all__ = [
    "WAIT",
    "ExecutionConfig",
    "ExperimentConfig",
    "ExperimentResult",
    "Searcher",
    "StudyConfig",
    "StudyResult",
    "Told",
    "__version__",
    "expand_grid",
    "meter",
    "run_experiment",
    "run_study",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'joulegrid' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
