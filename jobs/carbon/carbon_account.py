"""What a run's joules stand for in grams and money, as `study_result.json` holds it, with whose numbers were used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from joulegrid.cluster.carbon.intensity import FactorType, Signal
from joulegrid.cluster.power.energy import Provenance, Scope, Source
from joulegrid.jobs.report.quantity import counted, number


class Part(BaseModel):
    """A frozen part of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class IntensityUsed(Part):
    """Intensities of one source that were used."""

    signal: Signal
    source: str
    """A dataset's title, a service, or `given`."""
    zone: str | None
    dataset_year: int | None
    factor_type: FactorType | None
    licence: str | None
    n_hours: int
    """Hours in which energy was drawn."""
    n_estimated: int
    """Of them, hours that the service itself calls an estimate."""
    n_stale: int
    """Of them, hours for which an old copy stands."""
    oldest_s: float | None = None
    """Age of the oldest of these copies."""
    low_g_per_kwh: float
    """The lowest of the hours' intensities."""
    high_g_per_kwh: float


class CarbonTotal(Part):
    """All windows of the done tasks whose joules are of one kind. Modelled joules make modelled grams."""

    provenance: Provenance | None
    source: Source | None
    scope: Scope | None
    n_windows: int
    energy_j: float | None
    facility_energy_j: float | None
    """Times the PUE; null without one."""
    average_g: float | None
    """Grams of CO₂ equivalent at the average intensity; null where the joules, or the intensity of an hour, are."""
    marginal_g: float | None
    """The same at the marginal intensity; another question, never added to the average."""
    facility_average_g: float | None
    facility_marginal_g: float | None
    energy_cost: float | None


class CarbonAccount(Part):
    """Grams and money derived from the stored joules: `joulegrid carbon RUN` derives them again, also differently."""

    provider: str
    """`given`, `table`, `electricity-maps`, `watttime`, or `none`."""
    zone: str | None
    intensities: list[IntensityUsed] = Field(default_factory=list)
    unknown: dict[str, str] = Field(default_factory=dict)
    """`average`, `marginal` → why grams of it are unknown, where an hour's intensity is."""
    pue: float | None
    pue_source: str | None
    price_per_kwh: float | None
    price_per_gpu_hour: float | None
    currency: str | None
    totals: list[CarbonTotal] = Field(default_factory=list)
    gpu_hours: float = 0.0
    """GPUs (or MIG instances) times hours of all done tasks, set-up included; idle lanes are not."""
    gpu_cost: float | None = None
    computed_at: str
    """ISO 8601, UTC."""
    version: str
    """Of Joulegrid."""
    notes: list[str] = Field(default_factory=list)


class BudgetSpent(Part):
    """What a run may spend and what its attempts have spent, those that failed included."""

    energy_budget_j: float | None
    carbon_budget_g: float | None
    spent_j: dict[str, float]
    """Provenance → joules of all windows of all attempts; towards the budget they count together."""
    spent_g: float | None
    """Grams of the facility at the average intensity; null without a budget of grams."""
    n_unknown: int
    """Attempts that have ended or were cut short and whose joules are not known: so many at least, after a kill -9."""
    over: str | None
    """Why nothing more is begun; null while something is left."""


def budget_told(manifest: Mapping[str, Any]) -> BudgetSpent | None:
    """Return what a run's manifest says of its budget; `None` where it has none, or was changed by hand."""
    try:
        return BudgetSpent.model_validate(manifest["budget"])
    except (KeyError, ValidationError):
        return None


def budget_words(budget: BudgetSpent) -> str:
    """Return e.g. `812 J measured of 1,000 J, 2 attempts of unknown energy`."""
    spent = ", ".join(f"{number(joules)} J {kind}" for kind, joules in budget.spent_j.items()) or "0 J"
    parts = [f"{spent} of {number(budget.energy_budget_j)} J"] if budget.energy_budget_j is not None else []
    if budget.carbon_budget_g is not None:
        parts.append(f"{number(budget.spent_g)} g of {number(budget.carbon_budget_g)} g")
    unknown = [f"{counted(budget.n_unknown, 'attempt')} of unknown energy"] if budget.n_unknown else []
    return ", ".join([*parts, *unknown])
