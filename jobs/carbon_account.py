"""What a run's joules stand for in grams and money, as `study_result.json` holds it, with whose numbers were used."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from joulegrid.cluster.carbon.intensity import FactorType, Signal
from joulegrid.cluster.power.energy import Provenance, Scope, Source


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
