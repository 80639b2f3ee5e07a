"""What an amount of energy stands for: joules of the facility, grams, money. Pure but for the provider's answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from joulegrid.cluster.carbon.config import CarbonConfig
from joulegrid.cluster.carbon.intensity import Intensity, Provider, Signal

J_PER_KWH = 3_600_000.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of some joules of computers: what the facility drew for them, the grams of both, and the price.

    Average and marginal grams answer different questions and are never added up. Unknown is `None`.
    """

    energy_j: float
    facility_energy_j: float | None = None
    """`energy_j` times the PUE; `None` without one."""
    average_g: float | None = None
    marginal_g: float | None = None
    facility_average_g: float | None = None
    facility_marginal_g: float | None = None
    energy_cost: float | None = None
    """Of the facility's joules where a PUE is given, else of the computers'."""

    @classmethod
    def total(cls, parts: Iterable[Footprint]) -> Footprint:
        """Add up parts; a sum in which one part is unknown is unknown."""
        every = list(parts)
        columns = {one.name: [getattr(part, one.name) for part in every] for one in fields(cls)}
        sums: dict[str, Any] = {name: None if None in values else sum(values) for name, values in columns.items()}
        return cls(**sums)


@dataclass(frozen=True, slots=True)
class Once:
    """A provider that is asked once for each hour, so that all sums of one pass are made of the same numbers."""

    provider: Provider
    _said: dict[tuple[datetime, Signal], Intensity] = field(default_factory=dict, init=False)

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.provider.name

    def intensity(self, hour: datetime, signal: Signal) -> Intensity:
        """Return what the provider said when it was asked first."""
        if (hour, signal) not in self._said:
            self._said[hour, signal] = self.provider.intensity(hour, signal)
        return self._said[hour, signal]

    def complaint(self) -> str | None:
        """Return the provider's complaint."""
        return self.provider.complaint()


@dataclass(frozen=True, slots=True)
class Accounting:
    """How joules become grams and money."""

    config: CarbonConfig
    provider: Provider

    def footprint(self, hours: Mapping[datetime, float]) -> Footprint:
        """Return what joules by UTC hour stand for: grams are Σ joules × that hour's intensity."""
        energy_j, pue, price = sum(hours.values()), self.config.pue, self.config.price_per_kwh
        average_g, marginal_g = self.grams(hours, "average"), self.grams(hours, "marginal")
        return Footprint(
            energy_j=energy_j,
            facility_energy_j=times(energy_j, pue),
            average_g=average_g,
            marginal_g=marginal_g,
            facility_average_g=times(average_g, pue),
            facility_marginal_g=times(marginal_g, pue),
            energy_cost=times(price, energy_j * (pue or 1.0) / J_PER_KWH),
        )

    def grams(self, hours: Mapping[datetime, float], signal: Signal) -> float | None:
        """Return the grams of joules by UTC hour; `None` where the intensity of one hour is unknown."""
        known = [(joules, self.intensity(hour, signal).g_per_kwh) for hour, joules in hours.items()]
        parts = [joules / J_PER_KWH * g_per_kwh for joules, g_per_kwh in known if g_per_kwh is not None]
        return sum(parts) if len(parts) == len(known) else None

    def intensity(self, hour: datetime, signal: Signal) -> Intensity:
        """Return what the provider says of an hour."""
        return self.provider.intensity(hour, signal)

    def gpu_cost(self, gpu_hours: float) -> float | None:
        """Return the price of GPU-hours; `None` without one."""
        return times(self.config.price_per_gpu_hour, gpu_hours)


def times(one: float | None, other: float | None) -> float | None:
    """Multiply; unknown where either is."""
    return None if one is None or other is None else one * other
