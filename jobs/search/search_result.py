"""What a search found: the best experiment, or with several objectives those that no other beats. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from joulegrid.jobs.report.pareto import beats
from joulegrid.jobs.report.summary_row import SummaryRow
from joulegrid.jobs.search.search import is_energy
from joulegrid.jobs.study.search_config import Objective
from joulegrid.jsontypes import Json

BEST_KEPT = 100
BEST_TOLD = 5


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class BestExperiment(_Part):
    """An experiment that no other one beats in all objectives."""

    index: int
    key: str
    label: str
    axes: dict[str, Json] = Field(default_factory=dict)
    values: dict[str, float]
    """Metric of each objective → its mean over the done cycles."""
    energy: str | None = None
    """How the joules among these were obtained, e.g. `modelled, CPU`; null where there are none."""


class SearchResult(_Part):
    """What proposed the experiments of a study, and what it found."""

    searcher: str
    """`optuna tpe`, `study.py: config_gen`."""
    objectives: list[Objective] = Field(default_factory=list)
    best: list[BestExperiment] = Field(default_factory=list)
    """With one objective the best experiment; with several the Pareto front, by the first objective."""
    n_incomparable: int = 0
    """Experiments left out because their joules were obtained otherwise than those of the others."""


class Front:
    """Take the rows of a summary one by one; remember the experiments that no other one beats."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        grammar = plan.get("grammar") or {}
        told = grammar.get("searcher") or {}
        self._searcher: str | None = told.get("name") if isinstance(told, dict) else None
        self._objectives = _objectives(grammar.get("search"))
        self._best: list[BestExperiment] = []
        self._kind: str | None = None
        self._incomparable = 0

    def add(self, row: SummaryRow) -> None:
        """Take a row; one without a number for every objective is no candidate."""
        found = {one.metric: mean_of(row, one.metric) for one in self._objectives}
        values = {metric: value for metric, value in found.items() if value is not None}
        if not self._objectives or len(values) < len(found):
            return
        energy = row.energy_words if any(map(is_energy, values)) else None
        self._kind = self._kind or energy
        if energy != self._kind:
            self._incomparable += 1
            return
        mine = self._losses(values)
        others = [(one, self._losses(one.values)) for one in self._best]
        if any(beats(theirs, mine) or (theirs == mine and len(mine) == 1) for _, theirs in others):
            return
        candidate = BestExperiment(
            index=row.index, key=row.key, label=row.label, axes=row.axes, values=values, energy=energy
        )
        self._best = [*(one for one, theirs in others if not beats(mine, theirs)), candidate]

    def result(self) -> SearchResult | None:
        """Return what was found; `None` where the study was no search."""
        if self._searcher is None:
            return None
        ordered = sorted(self._best, key=lambda one: self._losses(one.values))
        return SearchResult(
            searcher=self._searcher,
            objectives=self._objectives,
            best=ordered[:BEST_KEPT],
            n_incomparable=self._incomparable,
        )

    def _losses(self, values: Mapping[str, float]) -> tuple[float, ...]:
        return tuple(values[one.metric] * (1 if one.direction == "minimize" else -1) for one in self._objectives)


def search_result(plan: Mapping[str, Any], rows: Iterable[SummaryRow]) -> SearchResult | None:
    """Return what the search of a run's `plan.json` found; `None` where it is the plan of a grid."""
    front = Front(plan)
    if front.result() is None:
        return None
    for row in rows:
        front.add(row)
    return front.result()


def search_notes(found: SearchResult | None) -> list[str]:
    """Say for people what a search found."""
    if found is None or not found.objectives:
        return []
    wanted = ", ".join(f"{one.direction} {one.metric}" for one in found.objectives)
    if not found.best:
        return [f"search ({found.searcher}, {wanted}): no experiment has a number for every objective"]
    told = "; ".join(_told(one) for one in found.best[:BEST_TOLD])
    more = f"; and {len(found.best) - BEST_TOLD} more" if len(found.best) > BEST_TOLD else ""
    what = "best" if len(found.objectives) == 1 else f"Pareto front of {len(found.best)}"
    notes = [f"search ({found.searcher}, {wanted}): {what}: {told}{more}"]
    if found.n_incomparable:
        kind = found.best[0].energy
        notes.append(f"search: {found.n_incomparable} experiments left out, their joules are not {kind} as the others'")
    return notes


def mean_of(row: SummaryRow, metric: str) -> float | None:
    """Return an objective's mean in a row of the summary; `None` where the row has no such number."""
    if metric == "duration_s":
        found = row.seconds
    elif metric == "energy_j":
        found = row.energy_j
    elif metric.startswith("energy_per."):
        found = row.energy_per.get(metric.removeprefix("energy_per."))
    else:
        found = row.metrics.get(metric)
    return found.mean if found is not None else None


def _told(one: BestExperiment) -> str:
    numbers = ", ".join(f"{metric} {value:.4g}" for metric, value in one.values.items())
    return f"{one.label} ({numbers}{f', {one.energy}' if one.energy else ''})"


def _objectives(section: object) -> list[Objective]:
    given = section.get("objectives") if isinstance(section, dict) else None
    try:
        return [Objective.model_validate(one) for one in given or []]
    except (ValidationError, TypeError):  # a plan of another version: its report has no best
        return []
