"""What is common to the services that are asked over HTTP, and which there are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from joulegrid.cluster.carbon.http import FetchError
from joulegrid.cluster.carbon.intensity import FactorType, Signal

_PLACE = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*,\s*(-?\d+(?:\.\d+)?)\s*")


@dataclass(frozen=True, slots=True)
class Hourly:
    """What a service says of one hour."""

    g_per_kwh: float
    zone: str
    is_estimated: bool | None = None
    is_final: bool = True
    """Whether it will not change any more, as far as the service lets one know."""


class Service(Protocol):
    """A service with hourly intensities of one zone."""

    @property
    def name(self) -> str:
        """What it is called in records."""
        ...

    @property
    def zone(self) -> str:
        """The zone that it is asked for."""
        ...

    @property
    def licence(self) -> str:
        """Under whose terms its values are."""
        ...

    def missing(self) -> str | None:
        """Say which credentials are missing; `None` where it can be asked."""
        ...

    def refuses(self, signal: Signal) -> str | None:
        """Say why it has no such signal; `None` where it has."""
        ...

    def factor_of(self, signal: Signal) -> FactorType:
        """Return what its values of this signal count."""
        ...

    def fetch(self, hour: datetime, now: datetime, signal: Signal, timeout_s: float) -> Mapping[datetime, Hourly]:
        """Ask for an hour; whatever other hours the answer holds come along. Raises `FetchError`."""
        ...


def service_of(name: str, zone: str, factor_type: FactorType) -> Service:
    """Return the service of this name, ready to be asked for a zone."""
    if name == "watttime":
        from joulegrid.cluster.carbon.watttime import WattTime

        return WattTime(zone)
    from joulegrid.cluster.carbon.electricity_maps import ElectricityMaps

    return ElectricityMaps(zone, factor_type)


def coordinates(zone: str) -> tuple[str, str] | None:
    """Return latitude and longitude of a zone that is written so, e.g. `52.52,13.40`."""
    found = _PLACE.fullmatch(zone)
    return (found[1], found[2]) if found else None


def time_of(told: object) -> datetime:
    """Return the hour of an ISO 8601 time with its zone, in UTC; `ValueError` or `TypeError` for anything else."""
    moment = datetime.fromisoformat(str(told))
    if moment.tzinfo is None:
        raise ValueError(f"{told}: a time without a zone")
    return moment.astimezone(UTC)


def utc_text(moment: datetime) -> str:
    """Return a time as the services take it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def number(value: Any) -> float:
    """Return a finite number that is not negative; `ValueError` or `TypeError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{value!r} is no carbon intensity")
    return float(value)


def malformed(service: str, error: Exception) -> FetchError:
    """Return the error for an answer of another form than is documented."""
    return FetchError(f"{service} sent something else than it documents: {error!r}", is_passing=False)
