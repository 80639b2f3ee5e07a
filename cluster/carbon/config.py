"""Where the power is drawn and how it is priced: the section `execution.carbon`, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from joulegrid.cluster.carbon.intensity import FactorType, Provider
from joulegrid.cluster.carbon.still import Given, Nowhere, Table

ProviderName = Literal["table", "electricity-maps", "watttime"]
_DECISIONS = (
    ("zone", "intensity_g_per_kwh", "provider", "factor_type"),
    ("pue", "pue_source"),
    ("price_per_kwh", "price_per_gpu_hour", "currency"),
)
"""Fields that are one decision: whoever makes a part of it makes it whole."""


class CarbonConfig(BaseModel):
    """Where the power is drawn and how it is priced. Nothing of it changes what is measured."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    zone: str | None = Field(default=None, min_length=1)
    """Country (`DE`), state of the USA (`US-VA`), eGRID subregion (`CAMX`), cloud region (`aws:eu-central-1`), the
    provider's own name of a zone, or `latitude,longitude`; `null` is unknown, and then grams are."""
    intensity_g_per_kwh: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Grams of CO₂ equivalent for a kilowatt-hour, for every hour."""
    provider: ProviderName | None = None
    """Who is asked for the zone's intensity: the embedded `table` (the default), `electricity-maps` or `watttime`."""
    factor_type: FactorType = "lifecycle"
    """What Electricity Maps is asked for; the other sources have one kind only."""
    pue: float | None = Field(default=None, ge=1, le=10)
    """Power usage effectiveness: energy of the facility for one joule of its computers; `null` applies none."""
    pue_source: str | None = None
    """Where that number is from."""
    price_per_kwh: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Money for a kilowatt-hour; of the facility's energy where a PUE is given."""
    price_per_gpu_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Money for a GPU (or MIG instance) and hour."""
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    """ISO 4217, e.g. `EUR`."""

    @model_validator(mode="after")
    def _one_source(self) -> CarbonConfig:
        if self.intensity_g_per_kwh is not None and self.provider is not None:
            raise ValueError("intensity_g_per_kwh and provider are two sources of one number; give one of them")
        if self.provider is not None and self.zone is None:
            raise ValueError(f"provider {self.provider} needs a zone")
        if self.pue_source is not None and self.pue is None:
            raise ValueError("pue_source says where a pue is from, but there is no pue")
        return self


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `above` over those of `below`; a decision is taken from one of them, never mixed."""
    kept = dict(below)
    for decision in _DECISIONS:
        if any(above.get(name) is not None for name in decision):
            kept = {name: value for name, value in kept.items() if name not in decision}
    return kept | dict(above)


def unknown_grams(config: CarbonConfig) -> str | None:
    """Say that grams will stay unknown although a zone is given, and why; `None` where they may become known."""
    complaint = None if config.zone is None else provider_of(config).complaint()
    return None if complaint is None else f"grams of CO2 stay unknown: {complaint}"


def provider_of(config: CarbonConfig, *, offline: bool = False, patient: bool = True) -> Provider:
    """Return who answers for the section; nothing is asked yet.

    `offline` takes what was fetched before and asks nobody. `patient` waits and tries again where a service is busy.
    """
    if config.intensity_g_per_kwh is not None:
        return Given(config.intensity_g_per_kwh, config.zone)
    if config.zone is None:
        return Nowhere()
    if config.provider in (None, "table"):
        return Table(config.zone)
    from joulegrid.cluster.carbon.live import Live, Patience  # urllib stays unloaded where nobody is asked
    from joulegrid.cluster.carbon.services import service_of

    service = service_of(str(config.provider), config.zone, config.factor_type)
    return Live(service, offline=offline, patience=Patience() if patient else Patience(tries=1, timeout_s=5.0))
