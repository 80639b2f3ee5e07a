"""How many grams of CO₂ equivalent a kilowatt-hour stands for in one hour, and who says so. No network, no files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

Signal = Literal["average", "marginal"]
"""`average` is for accounting; `marginal` (what one kilowatt-hour more would have caused) for when and where to run."""
FactorType = Literal["lifecycle", "direct"]
"""Whether building the plants and bringing the fuel is counted (`lifecycle`), or the plants' operation alone."""


class Intensity(BaseModel):
    """Carbon intensity of one hour and zone. Unknown is null, never a default, and then `reason` says why."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    g_per_kwh: float | None = Field(ge=0, allow_inf_nan=False)
    """Grams of CO₂ equivalent for a kilowatt-hour."""
    signal: Signal
    source: str
    """Who says so: a dataset's title, a service, or `given`."""
    zone: str | None = None
    dataset_year: int | None = None
    """The year that a yearly figure is of."""
    factor_type: FactorType | None = None
    is_estimated: bool | None = None
    """Whether the service itself calls the value an estimate; null where it does not say."""
    fetched_at: str | None = None
    """When a service was asked; ISO 8601, UTC."""
    age_s: float | None = None
    """Age of a copy that should have been renewed and could not be; null for a value that is fresh."""
    licence: str | None = None
    reason: str | None = None
    """Why the intensity is unknown, or why a stale copy stands for it."""

    @model_validator(mode="after")
    def _unknown_is_explained(self) -> Intensity:
        if self.g_per_kwh is None and not self.reason:
            raise ValueError("an unknown intensity says why in `reason`")
        return self


class Provider(Protocol):
    """Answers for any hour; what it does not know is null with the reason, and nothing raises."""

    @property
    def name(self) -> str:
        """What it is called in records."""
        ...

    def intensity(self, hour: datetime, signal: Signal) -> Intensity:
        """Return the intensity of the hour that begins at `hour` (UTC)."""
        ...

    def complaint(self) -> str | None:
        """Say why it will answer nothing at all (no zone, an unknown one, no token); `None` where it may answer."""
        ...


def hour_of(unix_ns: int) -> datetime:
    """Return the beginning of the UTC hour that an instant lies in; `unix_ns` counts from 1970."""
    return datetime.fromtimestamp(unix_ns // 3_600_000_000_000 * 3_600, UTC)


def unknown(source: str, signal: Signal, reason: str, zone: str | None = None) -> Intensity:
    """Return an intensity that nobody knows, and why."""
    return Intensity(g_per_kwh=None, signal=signal, source=source, zone=zone, reason=reason)


def now_text(unix_s: float) -> str:
    """Return an instant as the files have it: ISO 8601, UTC, seconds."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds")
