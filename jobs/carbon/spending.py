"""Counts what a run's attempts have spent: those of earlier starts from the store, those of this one as they end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from joulegrid.actors.attempt import CONTAMINATED
from joulegrid.actors.outcome import Outcome, Spent
from joulegrid.actors.result import ExperimentResult
from joulegrid.actors.spent import spent_in, spent_in_raw
from joulegrid.cluster.carbon.config import provider_of
from joulegrid.cluster.carbon.footprint import J_PER_KWH, Accounting
from joulegrid.cluster.carbon.intensity import hour_of
from joulegrid.errors import UsageError
from joulegrid.jobs.carbon.budget import Budget
from joulegrid.jobs.carbon.carbon_account import budget_told
from joulegrid.jobs.report.run_results import read_json
from joulegrid.jobs.report.window_hours import offset_of
from joulegrid.jsontypes import Json

if TYPE_CHECKING:
    from joulegrid.cluster.storage import Store
    from joulegrid.jobs.study.execution import ExecutionConfig
    from joulegrid.jobs.study.study import StudyConfig


@dataclass(slots=True)
class Spending:
    """The budget of a run, and how its joules become grams."""

    budget: Budget
    accounting: Accounting
    _last_g_per_kwh: float | None = None

    @classmethod
    def of(cls, study: StudyConfig) -> Spending | None:
        """Return the budget of a study with nothing spent; `None` where it has none.

        Raises:
            UsageError: where a budget cannot be kept: nothing reads power, or no intensity is known.
        """
        execution = study.execution
        if not execution.has_budget:
            return None
        if study.power.source == "none":
            raise UsageError("a budget cannot be kept with power: none; choose a source of power, e.g. power: auto")
        budget = Budget(execution.energy_budget_j, execution.carbon_budget_g)
        spending = cls(budget, Accounting(execution.carbon, provider_of(execution.carbon, patient=False)))
        spending._refuse_unknown_intensity(execution)
        return spending

    def recall(self, store: Store) -> None:
        """Count every attempt that has left a result in the store, contaminated and failed ones too."""
        for spent, is_done in _attempts(store):
            self._count("an earlier task", spent, is_done=is_done)
        before = budget_told(read_json(store, "manifest.json"))
        if before is not None:  # it also knows of attempts that left nothing
            self.budget.n_unknown = max(self.budget.n_unknown, before.n_unknown)

    def lose(self, n_attempts: int) -> None:
        """Count attempts that were cut short: what they have drawn nobody knows."""
        self.budget.n_unknown += n_attempts

    def take(self, outcome: Outcome) -> None:
        """Count an attempt that has ended now."""
        if outcome.status == "done" or outcome.duration_s > 0:
            self._count(outcome.task_id, outcome.spent, is_done=outcome.status == "done")

    def told(self) -> dict[str, Json]:
        """Return what the manifest says of it."""
        budget = self.budget
        return {
            "energy_budget_j": budget.energy_j,
            "carbon_budget_g": budget.carbon_g,
            "spent_j": dict(sorted(budget.joules.items())),
            "spent_g": budget.grams if budget.carbon_g is not None else None,
            "n_unknown": budget.n_unknown,
            "over": budget.over,
        }

    def _count(self, name: str, spent: Sequence[Spent], *, is_done: bool) -> None:
        known = [(one.unix_s, one.provenance, one.energy_j) for one in spent if one.energy_j is not None]
        if len(known) < len(spent) or not spent:
            self.budget.n_unknown += 1
            if is_done:
                self.budget.blind = f"the energy of {name} is unknown: a budget cannot be kept over unknown energy"
        for unix_s, provenance, energy_j in known:
            self.budget.spend({str(provenance): energy_j}, self._grams(unix_s, energy_j))

    def _grams(self, unix_s: int, energy_j: float) -> float:
        """Grams of the facility; an hour of unknown intensity counts with the last that is known."""
        if self.budget.carbon_g is None:
            return 0.0
        told = self.accounting.intensity(hour_of(unix_s * 10**9), "average").g_per_kwh
        self._last_g_per_kwh = self._last_g_per_kwh if told is None else told
        return energy_j / J_PER_KWH * (self._last_g_per_kwh or 0.0) * (self.accounting.config.pue or 1.0)

    def _refuse_unknown_intensity(self, execution: ExecutionConfig) -> None:
        if execution.carbon_budget_g is None:
            return
        now = self.accounting.intensity(hour_of(int(datetime.now(UTC).timestamp()) * 10**9), "average")
        if now.g_per_kwh is None:
            raise UsageError(f"execution.carbon_budget_g cannot be kept: the intensity now is unknown: {now.reason}")
        self._last_g_per_kwh = now.g_per_kwh


def _attempts(store: Store) -> Iterator[tuple[Sequence[Spent], bool]]:
    for path in store.list("results/"):
        if not path.endswith("/result.json"):
            continue
        try:
            result = ExperimentResult.model_validate_json(store.get(path))
        except (FileNotFoundError, ValidationError):
            yield (), False
            continue
        if result.status == "failed" and CONTAMINATED in result.artifacts:
            yield _of_contaminated(store, path, result), False
        elif result.status == "done" or result.timing.duration_s > 0:
            yield spent_in(result.windows or (), offset_of(result)), result.status == "done"


def _of_contaminated(store: Store, path: str, result: ExperimentResult) -> Sequence[Spent]:
    try:
        raw = json.loads(store.get(f"{path.rpartition('/')[0]}/{CONTAMINATED}"))
    except (FileNotFoundError, ValueError):
        return ()
    return spent_in_raw(raw, offset_of(result))
